"""Ingest, versions, contracts, profiles, anomalies, splits."""
