"""From a batch to the tensors that a model takes in its own order, and from what it returns to outputs by name."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.errors import SignatureError
from headrace.models.matrices import Columns, Matrix
from headrace.models.runtime import Batch, numeric
from headrace.models.signature import Signature, Tensor
from headrace.models.tensors import NUMPY

Called = Callable[[list[NDArray[Any]]], Any]
"""A model: arrays in the order that it takes them in; an array, or a sequence or a mapping of arrays, out.

What it raises of a batch that it does not take is a RuntimeError, ValueError, IndexError or TypeError.
"""

Fed = Callable[[Batch], Mapping[str, NDArray[Any]]]
"""Scores a batch: arrays by output name."""


def fed(call: Called, signature: Signature, own: Signature, *, returned: Sequence[str] = ()) -> Fed:
    """What scores batches of ``signature``.

    Args:
        call: The model.
        signature: A table of numbers for a model of one matrix, or the model's tensors.
        own: What the model says that it takes and gives; a tensor of no extents says nothing of its shape.
        returned: Keys of the mapping that it returns.

    Raises:
        SignatureError: The signature is not the model's.
    """
    if signature.kind == "table":
        return _of_matrix(call, signature, own)
    order = _matched(own.tensors, signature.tensors, "takes")
    names = [output.name for output in signature.outputs]
    if returned or len(names) != len(own.outputs):
        _matched(_outputs(own), _outputs(signature), "gives")
    else:  # outputs without a name of their own are called as the signature calls them
        for mine, yours in zip(_outputs(own), _outputs(signature), strict=True):
            _fits(mine, yours, "gives")

    def score(batch: Batch) -> Mapping[str, NDArray[Any]]:
        found = _flat(call([batch[name] for name in order]), returned or names)
        return {name: found[name] for name in names}

    return score


def _outputs(signature: Signature) -> tuple[Tensor, ...]:
    return tuple(o for o in signature.outputs if isinstance(o, Tensor))


def _of_matrix(call: Called, signature: Signature, own: Signature) -> Fed:
    if len(own.tensors) != 1:
        raise SignatureError(
            f"the model takes {_list(own.tensors)}", why="a table is one matrix", fix="give a signature of tensors"
        )
    taken = own.tensors[0]
    width = taken.shape[1] if len(taken.shape) == 2 and taken.shape[1] > 0 else len(numeric(signature))  # noqa: PLR2004
    columns = Columns(signature, width)

    def predict(matrix: Matrix) -> Matrix:
        answer = call([np.asarray(matrix, NUMPY[taken.dtype])])
        return np.concatenate([part.reshape(len(matrix), -1) for part in _parts(answer)], axis=1)

    try:
        columns.check(predict)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise SignatureError("the model does not take a row of the signature", why=str(error)[:300]) from error
    return lambda batch: columns.score(batch, predict)


def _parts(answer: Any) -> list[NDArray[Any]]:
    if isinstance(answer, Mapping):
        answer = list(answer.values())
    return list(answer) if isinstance(answer, (tuple, list)) else [answer]


def _flat(answer: Any, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    keys = list(answer) if isinstance(answer, Mapping) else list(names)
    return dict(zip(keys, _parts(answer), strict=True))


def _matched(mine: Sequence[Tensor], yours: Sequence[Tensor], what: str) -> list[str]:
    """Names in the model's order, each tensor fitting."""
    known = {tensor.name: tensor for tensor in yours}
    if known.keys() != {tensor.name for tensor in mine}:
        raise SignatureError(f"the model {what} {_list(mine)}", why=f"the signature has {_list(yours)}")
    for tensor in mine:
        _fits(tensor, known[tensor.name], what)
    return [tensor.name for tensor in mine]


def _fits(mine: Tensor, yours: Tensor, what: str) -> None:
    shapes = len(mine.shape) == len(yours.shape) and all(
        m in {-1, y} for m, y in zip(mine.shape, yours.shape, strict=True)
    )
    # Who says of a model's bytes that they are text has text alone let in.
    kinds = {mine.dtype, yours.dtype} if (mine.dtype, yours.dtype) != ("bytes", "string") else {yours.dtype}
    if mine.shape and (len(kinds) > 1 or not shapes):
        raise SignatureError(
            f"the model {what} {mine.name!r} as {mine.dtype} {list(mine.shape)}",
            why=f"the signature says {yours.dtype} {list(yours.shape)}, where -1 is any extent",
        )


def _list(tensors: Sequence[Tensor]) -> str:
    return ", ".join(tensor.name for tensor in tensors) or "nothing"
