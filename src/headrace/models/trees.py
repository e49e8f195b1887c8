"""Trees of a booster as their library keeps them: a file may say of them what its library does not check.

A child that is no node is read from anywhere in memory, one that is its own ancestor is followed for ever, and both for
some rows only: a model that answers its examples may end the server later.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headrace.errors import IntegrityError


def check_children(children: ArrayLike, nodes: int) -> None:
    """See that each of a tree's ``nodes`` is the child of one at most, and the first of none: then no way is endless.

    Raises:
        IntegrityError: It is no tree.
    """
    check_within("child", children, 1, nodes)
    found = numbers(children)
    if len(np.unique(found)) != len(found):
        raise IntegrityError("a tree of the model is none", why="a node is the child of two")


def check_within(what: str, values: ArrayLike, least: int, end: int) -> None:
    """See that numbers of a tree are ``least`` or more, and less than ``end``.

    Raises:
        IntegrityError: One is not; ``what`` says of what.
    """
    found = numbers(values)
    wrong = found[(found < least) | (found >= end)]
    if len(wrong):
        raise IntegrityError(
            "a tree of the model is none", why=f"{what} {wrong[0]} is not within {least} and {end - 1}"
        )


def numbers(values: ArrayLike) -> NDArray[np.int64]:
    """Whole numbers of a list or of what stood in a text.

    Raises:
        ValueError: They are none.
    """
    return np.asarray(values, dtype=np.int64).reshape(-1)
