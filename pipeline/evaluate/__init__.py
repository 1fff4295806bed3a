"""Evaluate: score the model on the test set, and show where it fails."""
