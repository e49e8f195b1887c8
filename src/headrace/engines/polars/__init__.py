"""The polars engine."""
