"""Scores: metrics, intervals, significance and calibration, as pure functions on arrays."""
