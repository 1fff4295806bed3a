"""Scores of classifiers: metrics with calibration, intervals and tests of significance, as pure functions on arrays."""
