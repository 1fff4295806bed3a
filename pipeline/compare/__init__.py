"""Compare: two models on the same test images, and the data they were trained on."""
