"""Endpoints: schedule, rendezvous, scorers, batching, versions, the data plane, and the request and score log."""
