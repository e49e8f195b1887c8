"""The sklearn engine."""
