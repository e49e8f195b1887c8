"""Functions that are served as models."""

import ctypes
import functools

import numpy as np


def quality(alcohol, grape, year):
    """Types as the signature says, null as None."""
    assert (alcohol.dtype, year.dtype) == (np.float64, np.int64)
    return alcohol + 100 * (grape == "red") + np.array([1000 if g is None else 0 for g in grape]) + (year - 2000)


def apart(at, number):
    """How far they are from what float32 would round them to."""
    return {"at_apart": at - 1_700_000_000, "number_apart": number - 2**53, "positive": number > 0}


def halves(x):
    """Two tensors of one."""
    return {"half": x / 2, "rest": x - x / 2}


class Scale:
    """Keeps what it needs, made once where it is served."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, a):
        return a * self.factor

    def less(self, a, b):
        return a * self.factor - b


tripled = Scale(3)
doubled = lambda a: a * 2  # noqa: E731 - a name for a lambda is what is tested
beyond_ten = functools.partial(tripled.less, b=10)


async def later(a):
    return a


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


def powered(a, *, power=2, by=(0.5, 0.25), name="", up=True):
    """One input, and what may be said besides."""
    return (a**power + sum(by) + len(name)) * (1 if up else -1)


def untyped(a, *, cache=None):
    return a


def mixed(a, *, by=(1, 0.5)):
    return a


squared = functools.partial(powered, power=2)


def raised(a, *, power=3):
    return a**power
