"""Rebuild a registered version from its recorded commit, params and data, and check that the weights match."""
