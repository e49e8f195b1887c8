"""Keyed trials and shared prefixes; samplers are an engine behind the Sampler port."""
