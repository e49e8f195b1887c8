"""Resources, quotas, and long-running services with their supervision."""
