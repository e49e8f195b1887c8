"""Loaders of models that misbehave on purpose, for ``serving.isolated``; the first number of a batch says how."""

import ctypes
import gc
import os
import socket
import sys
import time

import numpy as np

from headrace.errors import SignatureError
from headrace.models.signature import Signature, Tensor

SEGFAULT, EXIT, MEMORY, HANG, RAISE, LIE = -1, -2, -3, -4, -5, -6


def adds(folder, signature):
    """a + 2 b, unless told to misbehave."""
    weight = float((folder / "model.txt").read_text())

    def score(batch):
        numbers = batch["numbers"]
        if numbers[0, 0] < 0:
            _misbehave(int(numbers[0, 0]))
        return {"total": (numbers[:, 0] + weight * numbers[:, 1]).astype(np.float32)}

    return score


def _misbehave(how):
    if how == SEGFAULT:
        ctypes.string_at(0)
    elif how == EXIT:
        sys.exit(3)
    elif how == MEMORY:
        kept = []
        while True:
            kept.append(np.empty(1 << 23))
    elif how == HANG:
        time.sleep(60)
    elif how == RAISE:
        raise ZeroDivisionError("not today")
    elif how == LIE:
        os.writev(_connection(), [b"\xff" * 64])


def _connection():
    """The worker's socket, found as model code that means harm would."""
    return next(found for found in gc.get_objects() if isinstance(found, socket.socket)).fileno()


def echoes(folder, signature):
    """What it is given, text as text, and what it sees of the environment."""

    def score(batch):
        return {**batch, "environment": np.array([" ".join(os.environ)], object)}

    return score


def refuses(folder, signature):
    raise SignatureError("these columns do not fit", where="here", why="because", fix="mend it")


def crashes(folder, signature):
    ctypes.string_at(0)


def breaks(folder, signature):
    raise KeyError("no such part")


def declares(folder, name):
    """One tensor in and out, called what it was asked for and what the file says."""
    if name == "crash":
        ctypes.string_at(0)
    if name == "none":
        raise SignatureError("there is no signature 'none'")
    tensor = Tensor((folder / "model.txt").read_text(), "float32", (-1,))
    return Signature("tensor", (tensor,), (tensor,), name)


def shows(folder, signature):
    """One row of the signature's columns, the second of them null, and the number in the file; or nothing."""
    said = (folder / "model.txt").read_text()
    columns = dict(zip((c.name for c in signature.columns), ([1.5], [None]), strict=True))
    return {"columns": columns, "outputs": {signature.outputs[0].name: [int(said)]}} if said else {}


_loaded = []


def loads_once(folder, signature):
    """As ``adds``, by the first process that loads it; one that loaded before dies of the next."""
    _loaded.append(folder)
    if len(_loaded) > 1:
        ctypes.string_at(0)
    return adds(folder, signature)


def scores_once(folder, signature):
    """As ``adds``, in the first process that loads it; one that loaded before dies of the next when it scores."""
    _loaded.append(folder)
    return (lambda _: ctypes.string_at(0)) if len(_loaded) > 1 else adds(folder, signature)
