"""Validate: one row of features per picture, checked by a Great Expectations suite."""
