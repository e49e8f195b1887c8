"""Tests of models of PyTorch, TensorFlow, Keras and LiteRT: ``make test-frameworks`` has an environment of all four.

Elsewhere these files are not even read: they import what is not there.
"""

import importlib.util

FRAMEWORKS = ("torch", "tensorflow", "keras", "ai_edge_litert")

collect_ignore_glob = [] if all(map(importlib.util.find_spec, FRAMEWORKS)) else ["test_*.py"]
