"""Doctor: find and fix what is inconsistent in registry, records and runs."""
