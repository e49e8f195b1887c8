"""The ambient Platform and plan behind the public decorators and verbs."""
