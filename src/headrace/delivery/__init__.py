"""Decides what is promoted and rolled out, and records it as facts."""
