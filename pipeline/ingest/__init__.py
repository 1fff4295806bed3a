"""Ingest: read a known or the user's own data set, check every file of it, split it, write it as arrays."""
