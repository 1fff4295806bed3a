"""Profiles of training data, as validate writes them."""

import json


def profile(brightness: int, classes: dict[str, int]) -> str:
    """A profile of images that are all equally bright."""
    images = sum(classes.values())
    flat = [0] * 256
    features = {"pixel_mean": [images if level == brightness else 0 for level in range(256)], "contrast": [images, *flat[1:]]}
    return json.dumps({"dataset": "toys", "dataset_digest": "d", "features": features, "classes": classes})
