"""Verify: rebuild a registered version and check that it is the same."""
