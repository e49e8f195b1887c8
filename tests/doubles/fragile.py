"""A function that is served as a model and does to itself what the number says that it is given."""

import ctypes
import os

import numpy as np

SEGFAULT, EXIT, MEMORY, HANG, RAISE = -1, -2, -3, -4, -5


def doubled(x):
    """Twice x, unless told to misbehave."""
    if (how := int(x.min())) < 0:
        _misbehave(how)
    return x * 2


def _misbehave(how):
    if how == SEGFAULT:
        ctypes.string_at(0)
    elif how == EXIT:
        os._exit(3)
    elif how == MEMORY:
        kept = []
        while True:
            kept.append(np.ones(1 << 20))
    elif how == HANG:  # in compiled code that keeps the interpreter: no other thread of this process runs
        ctypes.PyDLL(None).sleep(600)
    raise ZeroDivisionError("not today")
