"""Numbers of large JSON tensors, read into NumPy block by block: as lists they take thirty times their bytes."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
from msgspec import Raw
from numpy.typing import NDArray

from headrace.errors import SignatureError
from headrace.models.signature import WORDS, Tensor
from headrace.models.tensors import NUMPY
from headrace.serving.request import Input, plain_words
from headrace.serving.tensors import Decoder, TensorDecoder, value_type

Piece = bytes | memoryview | Raw

_BLOCK = 256 * 1024
_NOT_STRUCTURE = bytes(sorted(set(range(256)) - set(b"[],")))
_OPENING = re.compile(rb"[\s\[]*")
_INDEX = re.compile(r"\$\[(\d+)\]")
_named = msgspec.json.Decoder(dict[str, Raw])


def of_rows(decoder: Decoder, text: Piece) -> Input | None:
    """The input of bare rows; None where they are none of an only tensor of numbers, and are to be read otherwise.

    Raises:
        SignatureError: A value is no number of the tensor's type, or the rows are ragged.
    """
    if not isinstance(decoder, TensorDecoder) or len(decoder.tensors) != 1:
        return None
    return _of_texts(decoder, {decoder.names[0]: text})


def of_columns(decoder: Decoder, text: Piece) -> Input | None:
    """The input of whole tensors, by name or the only one bare; None where not all are of numbers, by their names.

    Raises:
        SignatureError: A value is no number of a tensor's type, or a tensor is ragged.
    """
    if not isinstance(decoder, TensorDecoder):
        return None
    if bytes(memoryview(text)[:1]) != b"{":
        return of_rows(decoder, text)
    texts = _named.decode(text)
    return _of_texts(decoder, texts) if texts.keys() == decoder.tensors.keys() else None


def numbers(text: Piece, tensor: Tensor) -> NDArray[Any]:
    """An array of the type of ``tensor`` and of the shape that the lists in ``text`` have.

    Raises:
        SignatureError: A value is no number of that type, or the lists are ragged.
    """
    text = bytes(memoryview(text))
    shape = _shape(text.translate(None, _NOT_STRUCTURE))
    ragged = SignatureError(f"tensor {tensor.name!r} is ragged", why="lists side by side are to be of equal length")
    if shape is None:
        raise ragged
    found, at = np.empty(int(np.prod(shape, dtype=np.int64)), NUMPY[tensor.dtype]), 0
    decoder = msgspec.json.Decoder(list[value_type(tensor.dtype)])  # type: ignore[misc]
    for block in _blocks(text):
        try:
            values = decoder.decode(b"[%b]" % block)
            found[at : at + len(values)] = values
        except (msgspec.DecodeError, ValueError, OverflowError) as error:
            said, _, place = str(error).partition(" - at `")
            where = f"value {at + int(index[1])}" if (index := _INDEX.match(place)) else f"after value {at}"
            raise SignatureError(f"tensor {tensor.name!r} is refused", where=where, why=plain_words(said)) from None
        at += len(values)
    if at != len(found):
        raise ragged
    return found.reshape(shape)


def _of_texts(decoder: TensorDecoder, texts: Mapping[str, Piece]) -> Input | None:
    tensors = decoder.tensors
    if not all(_is_numeric(text, tensors[name]) for name, text in texts.items()):
        return None
    return decoder.of_arrays({name: numbers(text, tensors[name]) for name, text in texts.items()})


def _is_numeric(text: Piece, tensor: Tensor) -> bool:
    """Whether these are lists, nested as deep as the tensor is, that begin with no text and no object."""
    opening = _OPENING.match(memoryview(text))
    assert opening is not None
    first = bytes(memoryview(text)[opening.end() : opening.end() + 1])
    return tensor.dtype not in WORDS and opening[0].count(b"[") == len(tensor.shape) and first not in {b"{", b'"'}


def _shape(structure: bytes) -> list[int] | None:
    """The extents of nested lists, by their brackets and commas; None where these are not those of an array."""
    depth = len(structure) - len(structure.lstrip(b"["))
    extents: list[int] = []
    inner = b""
    for level in range(depth, 0, -1):  # the first list of each level says what the others must be
        end = structure.find(inner + b"]", level)
        several, rest = divmod(end - level, len(inner) + 1)
        if end < 0 or rest:
            return None
        extents.append(several + 1)
        inner = b"[%b%b]" % ((inner + b",") * several, inner)
        if len(inner) > len(structure):
            return None
    return extents[::-1] if extents and inner == structure else None


def _blocks(text: bytes) -> Iterator[bytes]:
    """The values without brackets, some at a time, divided where commas stand."""
    at, length = 0, len(text)
    while at < length:
        end = length if at + _BLOCK >= length else text.rfind(b",", at, at + _BLOCK)
        if end < 0:  # a value longer than a block
            end = text.find(b",", at + _BLOCK)
        end = length if end < 0 else end
        yield text[at:end].translate(None, b"[]")
        at = end + 1
