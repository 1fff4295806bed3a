"""Ingest: gets a known data set, checks every file of it, splits it, writes it as arrays."""
