"""The XGBoost engine."""
