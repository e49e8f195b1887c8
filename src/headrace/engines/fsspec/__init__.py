"""The fsspec engine: objects in stores that are reached over the network."""
