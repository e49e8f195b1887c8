"""The duckdb engine."""
