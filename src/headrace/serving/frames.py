"""What travels between a server and the worker process of a model: length-prefixed messages of plain data.

No pickle: a worker runs code that the server does not trust, so what it sends is decoded as numbers, text and bytes
only, and checked (type, shape, size) before anything is made of it.
"""

import math
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

MOST_BYTES = 1 << 28
"""A longer message is refused before it is read."""

_LENGTH = struct.Struct(">Q")
_TEXT, _BYTES = "text", "bytes"
_NUMERIC = frozenset("biuf")


class Array(msgspec.Struct, array_like=True):
    """One array: NumPy's name of its type, ``text`` or ``bytes``; its extents; and what it holds, in C order."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: memoryview | None = None
    texts: list[str] | None = None
    items: list[bytes] | None = None


class Frame(msgspec.Struct, array_like=True):
    """A message.

    Attributes:
        kind: ``load``, ``declare``, ``show``, ``ready``, ``score``, ``scored``, ``failed``, or ``forget``, to hold no
            model any more.
        arrays: A batch, or its outputs.
        said: An error as its four parts and code; the folder, the function to call and the signature to load with or
            to show, or its name; that which was declared; the name of the one to score by and the parameters to score
            with; the rows that were shown.
        within: Of ``scored``: when the model was called and when it had answered, in monotonic seconds, which are the
            same for all processes of a machine.
    """

    kind: str
    arrays: list[Array] = []
    said: dict[str, Any] = {}
    within: tuple[float, float] | None = None


class Channel:
    """One end of a connected socket, frames in and out.

    Args:
        connection: The socket; closed with the channel.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._decoder = msgspec.msgpack.Decoder(Frame)

    def send(self, frame: Frame, deadline: float | None = None) -> None:
        """Send one message.

        Args:
            frame: The message.
            deadline: Monotonic seconds after which it is given up; None to wait without end.

        Raises:
            TimeoutError: The other end did not take it in time.
            OSError: The other end is gone.
            ValueError: It is longer than ``MOST_BYTES``.
        """
        packed = msgspec.msgpack.encode(frame)
        if len(packed) > MOST_BYTES:
            raise ValueError(f"a message of {len(packed)} bytes, at most {MOST_BYTES} are allowed")
        self._socket.settimeout(_left(deadline))
        self._socket.sendall(_LENGTH.pack(len(packed)) + packed)

    def receive(self, deadline: float | None = None) -> Frame:
        """The next message.

        Args:
            deadline: Monotonic seconds after which it is given up; None to wait without end.

        Raises:
            TimeoutError: Nothing whole came in time.
            EOFError: The other end is gone.
            ValueError: What came is no message.
        """
        (length,) = _LENGTH.unpack(self._exactly(_LENGTH.size, deadline))
        if length > MOST_BYTES:
            raise ValueError(f"a message of {length} bytes, at most {MOST_BYTES} are allowed")
        return self._decoder.decode(self._exactly(length, deadline))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _exactly(self, count: int, deadline: float | None) -> bytearray:
        data = bytearray(count)
        rest = memoryview(data)
        while rest:
            self._socket.settimeout(_left(deadline))
            taken = self._socket.recv_into(rest)
            if not taken:
                raise EOFError
            rest = rest[taken:]
        return data


def packed(arrays: Mapping[str, Any]) -> list[Array]:
    """Arrays ready to travel; text of any NumPy kind as ``str``, bytes as they are."""
    return [_packed(name, np.asarray(array)) for name, array in arrays.items()]


def unpacked(arrays: list[Array]) -> dict[str, NDArray[Any]]:
    """Back from ``packed``, as arrays of their own.

    Raises:
        ValueError: Bytes or texts are not those of the type and extents that are named.
    """
    return {array.name: _unpacked(array) for array in arrays}


def _packed(name: str, array: NDArray[Any]) -> Array:
    if array.dtype.kind in "OSU":
        return _packed_words(name, array.shape, array.ravel().tolist())
    if array.dtype.kind not in _NUMERIC:
        raise TypeError(f"{name!r} has type {array.dtype}, which is neither numbers nor text")
    return Array(name, array.dtype.str, array.shape, data=memoryview(np.ascontiguousarray(array).tobytes()))


def _unpacked(array: Array) -> NDArray[Any]:
    count = math.prod(array.shape)
    if min(array.shape, default=0) < 0:
        raise ValueError(f"{array.name!r} has extents {array.shape}")
    if array.dtype in {_TEXT, _BYTES}:
        words = (array.texts if array.dtype == _TEXT else array.items) or []
        if len(words) != count:
            raise ValueError(f"{array.name!r} has {len(words)} texts for extents {array.shape}")
        cells = np.empty(count, dtype=np.object_)
        cells[:] = words
        return cells.reshape(array.shape)
    kind, data = np.dtype(array.dtype), array.data or b""
    if kind.kind not in _NUMERIC or len(data) != count * kind.itemsize:
        raise ValueError(f"{array.name!r} has {len(data)} bytes for {kind} {array.shape}")
    return np.frombuffer(data, kind).reshape(array.shape).copy()


def _packed_words(name: str, shape: tuple[int, ...], cells: list[Any]) -> Array:
    """Text, or bytes where one of the cells is that; null is the empty text."""
    if any(isinstance(cell, bytes) for cell in cells):
        items = [cell if isinstance(cell, bytes) else _text(cell).encode() for cell in cells]
        return Array(name, _BYTES, shape, items=items)
    return Array(name, _TEXT, shape, texts=[_text(cell) for cell in cells])


def _text(cell: Any) -> str:
    return "" if cell is None else str(cell)


def _left(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
