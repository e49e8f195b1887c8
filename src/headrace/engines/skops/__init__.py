"""The skops engine."""
