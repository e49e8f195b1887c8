"""Ordered passes and variants; and the Converter port that turns a trained model into a served artifact."""
