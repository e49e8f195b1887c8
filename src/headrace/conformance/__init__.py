"""The published test cases that every engine of a port must pass."""
