"""What Keras computes with: the framework that the environment names, or one that is installed."""

import importlib.util
import os

from headrace.errors import MissingExtra

BACKENDS = ("tensorflow", "torch", "jax")
"""In the order in which they are looked for: Keras imports TensorFlow in any case, where it is installed."""

CHOICE = "KERAS_BACKEND"
"""Keras' own environment variable."""


def backend() -> str:
    """What ``KERAS_BACKEND`` names, otherwise the first of ``BACKENDS`` that is installed.

    Raises:
        MissingExtra: There is none, or not the one that is named.
    """
    chosen = os.environ.get(CHOICE, "")
    for name in [chosen] if chosen else BACKENDS:
        if importlib.util.find_spec(name) is not None:
            return name
    raise MissingExtra(
        f"Keras needs {chosen or 'PyTorch, TensorFlow or JAX'}",
        where=CHOICE if chosen else "runtime.keras",
        fix=f"pip install {chosen or 'torch'}",
    )
