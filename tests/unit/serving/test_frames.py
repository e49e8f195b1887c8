"""What travels to and from workers arrives as it was sent."""

import socket

import numpy as np
import pytest

from headrace.serving.frames import Array, Channel, Frame, packed, unpacked

ARRAYS = {
    "numbers": np.array([[1.5, 2.5]], np.float32),
    "texts": np.array([["a", "ü"]], object),
    "octets": np.array([b"\xff\x00", b"", b"text"], object),
    "mixed": np.array([b"\xff", "ü"], object),
    "fixed": np.array([b"ab", b"c"], "S"),
    "none": np.empty((0,), object),
}
DUE = ARRAYS | {"mixed": np.array([b"\xff", "ü".encode()], object)}


def test_arrays_arrive_as_they_were():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        Channel(ours).send(Frame("score", packed(ARRAYS)))
        found = unpacked(Channel(theirs).receive().arrays)
    assert {name: array.tolist() for name, array in found.items()} == {n: a.tolist() for n, a in DUE.items()}
    assert {name: array.shape for name, array in found.items()} == {n: a.shape for n, a in DUE.items()}


@pytest.mark.parametrize(
    "array",
    [Array("x", "bytes", (2,), items=[b"one"]), Array("x", "bytes", (1,), texts=["one"]), Array("x", "text", (-1,))],
)
def test_what_is_not_as_many_as_is_said_is_refused(array):
    with pytest.raises(ValueError, match="'x'"):
        unpacked([array])
