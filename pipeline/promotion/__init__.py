"""Promotion: moves versions between registry stages, through gates, under a lock, with a record of every move."""
