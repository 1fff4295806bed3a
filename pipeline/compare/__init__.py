"""Compare: two models on the same test images."""
