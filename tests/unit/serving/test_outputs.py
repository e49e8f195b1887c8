"""What counts as a score of a model of tensors, and how answers are written; tables are in ``test_scorer``."""

import json

import msgspec
import numpy as np
import pytest

from headrace.models.signature import Signature, Tensor
from headrace.serving import outputs
from headrace.serving.outputs import checker, plain

encode = msgspec.json.Encoder(enc_hook=plain).encode
SEVERAL = Signature(
    "tensor",
    (Tensor("x", "float32", (-1, 2)),),
    (Tensor("chances", "float32", (-1, 3)), Tensor("named", "string", (-1,))),
)
ALONE = Signature("tensor", SEVERAL.inputs, SEVERAL.outputs[:1])
NAMED = np.array(["a", "b"], dtype=object)


def chances(value=0.5, shape=(2, 3)):
    found = np.full(shape, 0.5, np.float32)
    found[(0,) * len(shape)] = value
    return found


def test_outputs_of_the_signature_are_a_score():
    given = {"chances": chances(), "named": NAMED}
    outputs = checker(SEVERAL)(given, 2)
    assert outputs["chances"].tolist() == chances().tolist()
    assert outputs["named"].tolist() == ["a", "b"]
    assert checker(ALONE)({"chances": chances()}, 2)["chances"].shape == (2, 3)


@pytest.mark.parametrize("signature", [ALONE, SEVERAL])
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (chances(np.nan), "'chances' is not finite"),
        (chances(np.inf), "'chances' is not finite"),
        (chances(-np.inf), "'chances' is not finite"),
        (chances(shape=(2, 4)), r"wrong shape: 'chances' is \[2, 4\], \[2, 3\] is due"),
        (chances(shape=(3, 3)), r"wrong shape: 'chances' is \[3, 3\], \[2, 3\] is due"),
        (chances(shape=(2,)), r"wrong shape: 'chances' is \[2\], \[2, 3\] is due"),
        (np.full((2, 3), "x", object), "'chances' is text or bytes, float32 is due"),
        ([[0.5] * 3] * 2, "'chances' is list, no tensor"),
    ],
)
def test_what_is_no_score_of_tensors(signature, answer, said):
    with pytest.raises((ValueError, TypeError), match=said):
        checker(signature)({"chances": answer, "named": NAMED}, 2)


@pytest.mark.parametrize("shape", [(7,), (1, 7), (7, 1), (3, 2, 4), (100, 3), (5, 40), (6, 0), (0, 3), ()])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "uint64", "bool"])
def test_a_large_array_is_written_as_a_small_one(monkeypatch, shape, dtype):
    array = (np.arange(np.prod(shape, dtype=int)) / 3).astype(dtype).reshape(shape)
    due = encode({"y": array})
    monkeypatch.setattr(outputs, "_BLOCK", 4)
    assert encode({"y": array}) == due
    assert json.loads(due)["y"] == array.tolist()


def test_text_is_written_whole(monkeypatch):
    monkeypatch.setattr(outputs, "_BLOCK", 1)
    assert encode(np.array(["a", 'b"', b"\xff"], object)) == b'["a","b\\"",{"b64":"/w=="}]'
