"""A small typed HTTP client for headrace servers."""
