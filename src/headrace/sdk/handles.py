"""Handles: outputs that do not exist yet. Using one as a value says how to write it instead."""

import sys
from collections.abc import Iterator
from typing import Any, NoReturn

from headrace.errors import HandleError


class Handle:
    """The output of a planned step; pass it to another step.

    A step whose return annotation is a fixed ``tuple[…]`` gives a handle that unpacks into one handle a value.

    Args:
        node: Index of the step in its plan.
        name: Of the step, for messages.
        parts: Number of values it unpacks into, or None.
        part: Which of several values this is, or None for all.
    """

    __slots__ = ("_name", "_node", "_part", "_parts")

    def __init__(self, node: int, name: str, *, parts: int | None = None, part: int | None = None) -> None:
        self._node, self._name, self._parts, self._part = node, name, parts, part

    def __iter__(self) -> "Iterator[Handle]":
        """The handles of a tuple's values; an error for any other output."""
        if self._parts is None:
            self._refuse("iterate over")
        return iter([Handle(self._node, self._name, part=i) for i in range(self._parts)])

    def __repr__(self) -> str:
        """For debuggers and messages."""
        which = "" if self._part is None else f", value {self._part}"
        return f"<output of step {self._name!r}{which}, not computed yet>"

    def _refuse(self, action: str) -> NoReturn:
        raise misuse(action, f"the output of step {self._name!r}")

    def __getattr__(self, name: str) -> NoReturn:
        """Refuse attributes; protocols of Python itself see that there are none."""
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        self._refuse(f"read .{name} of")


def mark(handle: Handle) -> dict[str, int]:
    """How packed arguments name a handle."""
    if handle._part is None:  # noqa: SLF001 - the handle has no public attributes on purpose
        return {"$node": handle._node}  # noqa: SLF001
    return {"$node": handle._node, "part": handle._part}  # noqa: SLF001


def misuse(action: str, of: str) -> HandleError:
    """The error for using a handle as a value, with the user's line."""
    here = sys._getframe(1)  # noqa: SLF001 - the only cheap way to the user's line
    frame = here
    while frame.f_back is not None and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    line = f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}"
    return HandleError(f"cannot {action} {of}", fix=f"move that line into a @hr.step ({line})")


def _refusing(action: str) -> Any:
    def refuse(self: Handle, *_: Any, **__: Any) -> NoReturn:
        self._refuse(action)

    return refuse


_ACTIONS = {
    "take len() of": ["__len__", "__length_hint__"],
    "test the truth of": ["__bool__"],
    "look for something in": ["__contains__"],
    "index": ["__getitem__", "__setitem__", "__delitem__"],
    "call": ["__call__"],
    "compare": ["__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"],
    "hash": ["__hash__"],
    "format": ["__str__", "__format__"],
    "convert": ["__int__", "__float__", "__complex__", "__index__", "__bytes__", "__round__", "__array__"],
    "set an attribute of": ["__delattr__"],
    "enter": ["__enter__", "__exit__", "__aenter__", "__await__", "__aiter__"],
    "compute with": [
        *(f"__{side}{op}__" for side in ("", "r", "i") for op in (
            "add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "lshift", "rshift", "and", "or", "xor",
        )),
        *("__neg__", "__pos__", "__abs__", "__invert__", "__divmod__", "__rdivmod__"),
    ],
}  # fmt: skip

for _action, _names in _ACTIONS.items():
    for _name in _names:
        setattr(Handle, _name, _refusing(_action))
