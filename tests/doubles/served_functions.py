"""Functions that are served as models."""

import ctypes

import numpy as np


def quality(alcohol, grape, year):
    """Types as the signature says, null as None."""
    assert (alcohol.dtype, year.dtype) == (np.float64, np.int64)
    return alcohol + 100 * (grape == "red") + np.array([1000 if g is None else 0 for g in grape]) + (year - 2000)


def halves(x):
    """Two tensors of one."""
    return {"half": x / 2, "rest": x - x / 2}


class Judges:
    @staticmethod
    def mean(a, b):
        return (a + b) / 2


def sober(alcohol):
    """Refuses what is strong."""
    if (strong := alcohol[alcohol > 15]).size:
        raise ValueError(f"{np.floor(strong[0])} is too much")
    return alcohol / 2


def crash(alcohol, density, ph):
    """Takes its process down."""
    ctypes.string_at(0)
