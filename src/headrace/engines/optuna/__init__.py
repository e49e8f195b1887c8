"""The optuna engine."""
