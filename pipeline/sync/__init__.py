"""Sync: publish to a tracking store what this checkout can prove and the store lacks."""
