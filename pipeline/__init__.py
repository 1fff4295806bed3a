"""From labelled images to a gated, registered model. `python -m pipeline --help` lists the commands."""
