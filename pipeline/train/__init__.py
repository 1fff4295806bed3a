"""Train: builds the network, fits it, writes the model and how it came about."""
