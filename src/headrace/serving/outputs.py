"""What models answer: checked against the signature, filled in where none answers, and made plain for writing."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np

from headrace.errors import SignatureError
from headrace.models.signature import WORDS, Signature, Tensor
from headrace.models.tensors import NUMPY, all_finite, as_words, to_cells

ALIKE = 0.01
"""Answers that are no farther apart count as the same."""

_BLOCK = 64 * 1024
_json = msgspec.json.Encoder().encode

Check = Callable[[Mapping[str, Any], int], dict[str, Any]]
"""Takes a model's raw outputs and the number of rows; gives outputs as replied, or raises ``ValueError``."""

Shapes = Mapping[str, tuple[int, ...]]
"""Output of a table to the shape of one row's answer: ``()`` for a number, ``(3,)`` for three chances."""


def checker(signature: Signature, shapes: Shapes = MappingProxyType({})) -> Check:
    """What checks the outputs of a model with this signature: lists for tables, arrays for tensors.

    Args:
        signature: The model's; that of a table does not say how many values a row's answer has.
        shapes: It does; an output that is not named may have any.
    """
    if signature.kind == "table":
        due = {c.name: shapes.get(c.name) for c in signature.outputs}
        return lambda raw, count: checked(raw, due, count)
    tensors = tuple(t for t in signature.outputs if isinstance(t, Tensor))
    if len(tensors) == 1:
        only, name = tensors[0], tensors[0].name
        return lambda raw, count: {name: _tensor(raw[name], only, count)}
    return lambda raw, count: {t.name: _tensor(raw[t.name], t, count) for t in tensors}


def checked(raw: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...] | None], count: int) -> dict[str, list[Any]]:
    """A model's outputs as lists; raise ``ValueError`` unless each has ``count`` finite rows of its shape."""
    outputs = {}
    for name, shape in shapes.items():
        value = raw[name]
        due = (count, *(value.shape[1:] if shape is None else shape))
        if value.shape != due:
            raise ValueError(f"wrong shape: {name!r} is {list(value.shape)}, {list(due)} is due")
        values = value.tolist()
        finite = all(map(math.isfinite, values)) if value.ndim == 1 else bool(np.isfinite(value).all())
        if not finite:
            raise ValueError(f"{name!r} is not finite")
        outputs[name] = values
    return outputs


def check_default(signature: Signature, default: Mapping[str, float]) -> None:
    """Raise ``SignatureError`` when a default cannot stand for an output: its extents vary, or it is text."""
    for tensor in signature.outputs:
        if isinstance(tensor, Tensor) and tensor.name in default and (-1 in tensor.shape[1:] or tensor.dtype in WORDS):
            raise SignatureError(
                f"output {tensor.name!r} can have no default", why=f"it is {tensor.dtype} {list(tensor.shape)}"
            )


def filled(signature: Signature, default: Mapping[str, float], count: int) -> Mapping[str, Sequence[Any]]:
    """The default as outputs of ``count`` rows; empty when an output has none, as a reply holds all or nothing."""
    if any(field.name not in default for field in signature.outputs):
        return {}
    tensors = {t.name: t for t in signature.outputs if isinstance(t, Tensor)}
    return {
        name: np.full((count, *tensors[name].shape[1:]), value, NUMPY[tensors[name].dtype])  # type: ignore[misc]
        if name in tensors
        else [value] * count
        for name, value in default.items()
    }


def alike(own: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two models' outputs say the same: numbers within ``ALIKE``, texts equal; what one lacks is passed."""
    for name in own.keys() & other.keys():
        one, two = np.asarray(own[name]), np.asarray(other[name])
        if one.shape != two.shape:
            return False
        numbers = one.dtype.kind in "fiub" and two.dtype.kind in "fiub"
        if not (np.abs(one.astype(float) - two.astype(float)) <= ALIKE if numbers else one == two).all():
            return False
    return True


def plain(value: Any) -> Any:
    """For msgspec's JSON encoders: an array as nested lists, a large one as the text that these make."""
    if not isinstance(value, np.ndarray):
        raise NotImplementedError(type(value))
    if value.size <= _BLOCK or value.dtype.kind not in "fiub":
        return to_cells(value)
    # Some rows at a time: all of them as lists take many times what their text takes.
    rows = max(1, _BLOCK * len(value) // value.size)
    blocks = (_json(value[at : at + rows].tolist())[1:-1] for at in range(0, len(value), rows))
    return msgspec.Raw(b"[%b]" % b",".join(blocks))


def _tensor(value: Any, tensor: Tensor, count: int) -> Any:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{tensor.name!r} is {type(value).__name__}, no tensor")
    if not all_finite(value):
        raise ValueError(f"{tensor.name!r} is not finite")
    if value.dtype.kind in "OSU":
        value = _in_words(value, tensor)
    shape = value.shape
    if shape[:1] == (count,) and (-1, *shape[1:]) == tensor.shape:
        return value
    due = (count if tensor.shape[:1] == (-1,) else tensor.shape[0], *tensor.shape[1:]) if tensor.shape else ()
    if len(value.shape) != len(due) or any(d not in {-1, n} for n, d in zip(value.shape, due, strict=True)):
        raise ValueError(f"wrong shape: {tensor.name!r} is {list(value.shape)}, {list(due)} is due")
    return value


def _in_words(value: Any, tensor: Tensor) -> Any:
    if tensor.dtype not in WORDS:
        raise TypeError(f"{tensor.name!r} is text or bytes, {tensor.dtype} is due")
    try:
        return as_words(value, tensor)
    except SignatureError as error:
        raise ValueError(str(error)) from None
