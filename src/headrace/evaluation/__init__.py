"""Metrics and their direction, slices, ready-made gates, parity, side-by-side latency."""
