"""The LightGBM engine."""
