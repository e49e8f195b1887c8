"""Inference protocols over the data plane of serving."""
