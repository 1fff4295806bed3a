"""Commands without a package of their own: run, versions, ui."""
