"""Artifacts, signatures, versions and aliases; and the Runtime port that loads a model and scores a batch."""
