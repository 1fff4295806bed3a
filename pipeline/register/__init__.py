"""Register: lets a model into the registry through a gate."""
