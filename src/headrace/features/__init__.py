"""Point-in-time joins and windows, and feature views."""
