"""Trainers and run metrics; and the Tracking port that mirrors them to a tracking server."""
