"""What `doctor` looks for, a module per kind of defect; each gives `examine(registry)`, which writes nothing."""
