"""The LiteRT engine."""
