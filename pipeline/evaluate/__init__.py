"""Evaluate: scores the model on the test set, in numbers, pictures and one page."""
