"""Tests of models of PyTorch and TensorFlow. ``make test-frameworks`` runs them in an environment that has both.

Elsewhere these files are not even read: they import what is not there.
"""

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("torch") else ["test_*.py"]
