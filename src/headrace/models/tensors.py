"""Tensors of a signature: their NumPy types, what an example says of them, and how they are kept as JSON values."""

import base64
import binascii
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.errors import RegistrationRefused, SignatureError
from headrace.models.artifact import Artifact
from headrace.models.signature import WORDS, Dtype, Signature, Tensor

NUMPY: Mapping[Dtype, Any] = {
    "bool": np.bool_,
    "uint8": np.uint8,
    "uint16": np.uint16,
    "uint32": np.uint32,
    "uint64": np.uint64,
    "int8": np.int8,
    "int16": np.int16,
    "int32": np.int32,
    "int64": np.int64,
    "float16": np.float16,
    "float32": np.float32,
    "float64": np.float64,
    "string": np.object_,
    "bytes": np.object_,
}
"""Wire type to the NumPy type that models take; text is an array of ``str`` objects, bytes one of ``bytes``."""

_MOST_VALUES = 2**48
MOST_EXTENTS = 32
"""A tensor of more is refused before its size is computed: NumPy has no larger one."""

TOLERANCE = 1e-5
"""How far a served answer may be from the trained model's, per unit of the largest answer."""

_WIRE: Mapping[np.dtype[Any], Dtype] = {np.dtype(kind): dtype for dtype, kind in NUMPY.items() if dtype not in WORDS}

Arrays = Mapping[str, NDArray[Any]]


def is_arrays(example: Any) -> bool:
    """Whether an example is tensors: a mapping whose values are all arrays."""
    return isinstance(example, Mapping) and bool(example) and all(isinstance(v, np.ndarray) for v in example.values())


def tensor_signature(artifact: Artifact, example: Arrays, answers: Arrays) -> Signature:
    """The tensor signature that an example and its answers show: the first extent is the batch, the others are fixed.

    Args:
        artifact: The model.
        example: One array per input, batch first.
        answers: One array per output, as the trained model answered the example. An output whose first extent is the
            batch's is taken to have one row per input row.

    Raises:
        RegistrationRefused: An array is missing, has no batch, or has a type that no model takes.
    """
    counts = {len(_present(example, name, "example")) for name in artifact.inputs}
    if len(counts) != 1 or 0 in counts:
        raise RegistrationRefused("the example's tensors differ in rows, or have none", why=f"rows: {sorted(counts)}")
    inputs = tuple(_tensor(name, example[name], counts) for name in artifact.inputs)
    outputs = tuple(_tensor(name, _present(answers, name, "answers"), counts) for name in artifact.outputs)
    return Signature("tensor", inputs, outputs, params=artifact.params)


def tensor_examples(signature: Signature, example: Arrays, answers: Arrays) -> dict[str, Any]:
    """What ``examples.json`` of a model of tensors holds: recorded tensors, answers, and the tolerance on them.

    Raises:
        RegistrationRefused: An array is missing, or is not of the signature's shape or type.
    """
    try:
        tensors = {t.name: to_cells(_present(example, t.name, "example")) for t in signature.tensors}
        for tensor in signature.tensors:
            from_cells(tensors[tensor.name], tensor)
    except SignatureError as error:
        raise RegistrationRefused("the example does not fit the signature", why=str(error)) from error
    outputs = {name: to_cells(np.asarray(array)) for name, array in answers.items()}
    return {"tensors": tensors, "outputs": outputs, "tolerance": tolerance_of(answers)}


def tolerance_of(answers: Arrays) -> float:
    """How far a served answer may be from these: absolute, so it grows with them, as float32 keeps seven digits."""
    sizes = [float(np.abs(a).max()) for a in map(np.asarray, answers.values()) if a.dtype.kind in "fiu" and a.size]
    return TOLERANCE * max(1.0, *sizes, 1.0)


def to_cells(array: NDArray[Any]) -> Any:
    """Nested lists of JSON values; bytes that are no UTF-8 text become ``{"b64": ...}``."""
    if array.dtype.kind in "OSU":
        return _mapped(array.tolist(), word_cell)
    return array.tolist()


def from_cells(cells: Any, tensor: Tensor) -> NDArray[Any]:
    """Back from ``to_cells``.

    Raises:
        SignatureError: The cells are ragged, or not of the tensor's shape or type.
    """
    try:
        if tensor.dtype in WORDS:
            array: NDArray[Any] = np.array(_mapped(cells, _READ[tensor.dtype]), dtype=np.object_)
        else:
            with np.errstate(over="ignore"):  # what became infinite is refused below
                array = np.array(cells, dtype=NUMPY[tensor.dtype])
    except (ValueError, TypeError, OverflowError) as error:
        raise SignatureError(f"tensor {tensor.name!r} is ragged or of another type", why=str(error)[:200]) from None
    check_shape(array.shape, tensor)
    if not all_finite(array):
        raise SignatureError(f"tensor {tensor.name!r} is not finite", why=f"or out of range for {tensor.dtype}")
    return array


def from_parsed(cells: Any, tensor: Tensor) -> NDArray[Any]:
    """As ``from_cells``, of cells that a parser has held to the tensor's type, range and fixed extents."""
    if tensor.dtype in WORDS or -1 in tensor.shape[1:]:
        return from_cells(cells, tensor)
    try:
        return np.array(cells, dtype=NUMPY[tensor.dtype])
    except (ValueError, TypeError, OverflowError) as error:
        raise SignatureError(f"tensor {tensor.name!r} is of another type", why=str(error)[:200]) from None


def all_finite(array: NDArray[Any]) -> bool:
    """Whether no value is NaN or infinite; of what is not floats, always.

    Looking for a zero byte takes a third of the time of NumPy's ``all`` on the small arrays that requests are.
    """
    return array.dtype.kind != "f" or 0 not in np.isfinite(array).tobytes()


def check_extents(name: str, count: int) -> None:
    """Raise ``SignatureError`` for a tensor of so many extents that multiplying them would take long."""
    if count > MOST_EXTENTS:
        raise SignatureError(f"tensor {name!r} has {count} extents", why="no model takes it")


def makeable(shape: Sequence[int]) -> bool:
    """Whether there can be an array of this shape: NumPy counts what stands beside an extent of 0 as well."""
    return min(shape, default=0) >= 0 and math.prod(max(n, 1) for n in shape) < _MOST_VALUES


def check_shape(shape: Sequence[int], tensor: Tensor) -> None:
    """Raise ``SignatureError`` unless ``shape`` is one that ``tensor`` allows."""
    due = tensor.shape
    if len(shape) == len(due) and all(d in {-1, n} and n >= 0 for n, d in zip(shape, due, strict=True)):
        return
    raise SignatureError(
        f"tensor {tensor.name!r} has shape {list(shape)}", why=f"{list(due)} is due, where -1 is any extent"
    )


def text_of(cell: Any) -> str:
    """The text of a cell: itself, what bytes spell, or what ``{"b64": text}`` holds.

    Raises:
        SignatureError: It is none of these, or holds no UTF-8 text.
    """
    if isinstance(cell, str):
        return cell
    try:
        return bytes_of(cell).decode()
    except UnicodeDecodeError as error:
        raise SignatureError("this is no UTF-8 text", why=str(error)[:100], fix="send it to a model of bytes") from None


def bytes_of(cell: Any) -> bytes:
    """The bytes of a cell: itself, those of text in UTF-8, or what ``{"b64": text}`` holds.

    Raises:
        SignatureError: It is none of these.
    """
    if isinstance(cell, bytes):
        return cell
    try:
        if isinstance(cell, str):
            return cell.encode()
        if isinstance(cell, dict) and set(cell) == {"b64"} and isinstance(cell["b64"], str):
            return base64.b64decode(cell["b64"], validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise SignatureError("Unable to base64 decode", why=str(error)) from None
    raise SignatureError(f"{str(cell)[:50]!r} is no text", why='text or {"b64": text} is due')


def as_words(array: NDArray[Any], tensor: Tensor) -> NDArray[Any]:
    """Text or bytes of whatever kind, as the tensor has them: ``str`` for text, ``bytes`` for bytes.

    Raises:
        SignatureError: A cell is neither, or is no UTF-8 text where text is due; names the tensor.
    """
    made = np.empty(array.size, np.object_)
    try:
        made[:] = list(map(_READ[tensor.dtype], array.ravel().tolist()))
    except SignatureError as error:
        raise SignatureError(f"tensor {tensor.name!r} is refused", why=str(error)) from None
    return made.reshape(array.shape)


_READ: Mapping[str, Callable[[Any], str | bytes]] = {"string": text_of, "bytes": bytes_of}


def _mapped(cells: Any, what: Any) -> Any:
    return [_mapped(cell, what) for cell in cells] if isinstance(cells, list) else what(cells)


def word_cell(value: Any) -> Any:
    """Text or bytes as a JSON value: bytes that are no UTF-8 text become ``{"b64": ...}``."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"b64": base64.b64encode(value).decode()}
    return str(value)


def _present(arrays: Arrays, name: str, what: str) -> NDArray[Any]:
    found = arrays.get(name)
    if found is None:
        raise RegistrationRefused(
            f"{what} lacks {name!r}", fix=f"pass {what}= a mapping of arrays with {name!r}, rows first"
        )
    return np.asarray(found)


def _words(array: NDArray[Any]) -> Dtype:
    """Bytes where objects say so; NumPy's own type of bytes is what many keep text in, and drops zeros at the end."""
    objects = array.ravel().tolist() if array.dtype.kind == "O" else []
    return "bytes" if any(isinstance(cell, bytes) for cell in objects) else "string"


def _tensor(name: str, array: NDArray[Any], counts: set[int]) -> Tensor:
    dtype = _words(array) if array.dtype.kind in "OSU" else _WIRE.get(array.dtype)
    if dtype is None:
        raise RegistrationRefused(f"tensor {name!r} has type {array.dtype}", fix=f"one of {', '.join(NUMPY)}")
    if array.ndim and len(array) in counts:
        return Tensor(name, dtype, (-1, *array.shape[1:]))
    return Tensor(name, dtype, array.shape)
