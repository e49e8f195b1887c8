"""The mlflow engine."""
