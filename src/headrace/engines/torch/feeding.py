"""From a batch to a model's tensors, and from what it returns to outputs by name."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headrace.errors import SignatureError
from headrace.models.matrices import Columns, Matrix
from headrace.models.runtime import Batch, numeric
from headrace.models.signature import Signature, Tensor
from headrace.models.tensors import NUMPY
from headrace.serving.worker import Score

Called = Callable[[list[Any]], Any]
"""A model: tensors in the order that it takes them in, whatever it returns out."""


def quiet() -> None:
    """One thread a model, and no warning on what the model's author cannot change here."""
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    warnings.simplefilter("ignore")


def fed(call: Called, signature: Signature, own: Signature, *, returned: Sequence[str] = ()) -> Score:
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
        _matched(own_outputs(own), own_outputs(signature), "gives")
    else:  # outputs without a name of their own are called as the signature calls them
        for mine, yours in zip(own_outputs(own), own_outputs(signature), strict=True):
            _fits(mine, yours, "gives")

    def score(batch: Batch) -> Mapping[str, NDArray[Any]]:
        found = _flat(_called(call, [batch[name] for name in order]), returned or names)
        return {name: found[name] for name in names}

    return score


def own_outputs(signature: Signature) -> tuple[Tensor, ...]:
    """The output tensors of a signature of tensors."""
    return tuple(o for o in signature.outputs if isinstance(o, Tensor))


def _of_matrix(call: Called, signature: Signature, own: Signature) -> Score:
    if len(own.tensors) != 1:
        raise SignatureError(
            f"the model takes {_list(own.tensors)}", why="a table is one matrix", fix="give a signature of tensors"
        )
    taken = own.tensors[0]
    width = taken.shape[1] if len(taken.shape) == 2 and taken.shape[1] > 0 else len(numeric(signature))  # noqa: PLR2004
    columns = Columns(signature, width)

    def predict(matrix: Matrix) -> Matrix:
        answer = _called(call, [np.asarray(matrix, NUMPY[taken.dtype])])
        parts = [part.reshape(len(matrix), -1) for part in _arrays(answer)]
        return np.concatenate(parts, axis=1)

    try:
        columns.check(predict)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise SignatureError("the model does not take a row of the signature", why=str(error)[:300]) from error
    return lambda batch: columns.score(batch, predict)


def _called(call: Called, arrays: Sequence[NDArray[Any]]) -> Any:
    with torch.inference_mode():
        # A batch that travelled is read-only memory, and a model may write into what it is given.
        return call([torch.from_numpy(np.require(array, requirements=["C", "W"])) for array in arrays])


def _arrays(answer: Any) -> list[NDArray[Any]]:
    if isinstance(answer, Mapping):
        answer = list(answer.values())
    parts = list(answer) if isinstance(answer, (tuple, list)) else [answer]
    return [np.asarray(part.detach().numpy()) for part in parts]


def _flat(answer: Any, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    keys = list(answer) if isinstance(answer, Mapping) else list(names)
    return dict(zip(keys, _arrays(answer), strict=True))


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
    if mine.shape and (mine.dtype != yours.dtype or not shapes):
        raise SignatureError(
            f"the model {what} {mine.name!r} as {mine.dtype} {list(mine.shape)}",
            why=f"the signature says {yours.dtype} {list(yours.shape)}, where -1 is any extent",
        )


def _list(tensors: Sequence[Tensor]) -> str:
    return ", ".join(tensor.name for tensor in tensors) or "nothing"
