"""The train stage: networks and recipes, the training loop, exact resume."""
