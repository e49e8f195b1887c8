"""The Pillow engine."""
