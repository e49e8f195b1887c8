"""Observes: windows by event time, drift, delayed labels, alerts as facts."""
