"""Large tensors in JSON: read block by block, they are what they are when they are read whole."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from headrace.errors import SignatureError
from headrace.gateway import numbers as module
from headrace.gateway.numbers import numbers, of_columns, of_rows
from headrace.models.signature import Signature, Tensor
from headrace.serving.tensors import TensorDecoder

PAIR = TensorDecoder(
    Signature(
        "tensor", (Tensor("a", "float32", (-1, 2)), Tensor("b", "int64", (-1,))), (Tensor("y", "float32", (-1,)),)
    )
)
ONLY = TensorDecoder(Signature("tensor", (Tensor("a", "float32", (-1, 2)),), (Tensor("y", "float32", (-1,)),)))


@pytest.fixture(autouse=True)
def blocks(monkeypatch):
    """Blocks of few bytes, so that short texts have many."""
    monkeypatch.setattr(module, "_BLOCK", 16)


@settings(deadline=None)
@given(st.data())
def test_an_array_comes_back_from_its_json(data):
    dtype = data.draw(st.sampled_from(["float32", "float64", "int8", "int64", "uint64", "bool"]))
    kinds = {"allow_nan": False, "allow_infinity": False} if dtype.startswith("float") else {}
    elements = arrays.from_dtype(np.dtype(dtype), **kinds)
    array = data.draw(arrays.arrays(dtype, arrays.array_shapes(max_dims=4, max_side=7), elements=elements))
    spaces = data.draw(st.sampled_from([(",", ":"), (" ,\n", ": ")]))
    text = json.dumps(array.tolist(), separators=spaces).encode()
    found = numbers(text, Tensor("x", dtype, (-1,) * array.ndim))
    assert (found.dtype, found.shape, (found == array).all()) == (array.dtype, array.shape, True)


@pytest.mark.parametrize(
    "text",
    [
        "[[1,2],[3]]", "[[1,2],3]", "[1,[2,3]]", "[[1],[2],[3,4]]", "[[],[]]", "[]", "[[1,2]]]", "[[[1]],[2]]", "7",
        "[[1,2],[3,4],[5,6],[7,8],[9,10,11]]", "[[[1,2],[3,4]],[[5,6]]]",
    ],
)  # fmt: skip
def test_what_is_ragged_is_refused(text):
    with pytest.raises(SignatureError, match="'x' is"):
        numbers(text.encode(), Tensor("x", "float32", (-1, -1)))


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ('"7"', "value 40 - expected float, got str$"),
        ("null", "value 40"),
        ("true", "value 40"),
        ("1e400", "value 40|after value"),
        ("3.5e38", "value 40"),
        ("NaN", "after value"),
        ("01", "after value"),
        ("1 2", "after value"),
        ("", "after value"),
        ('{"a":1}', "value 40"),
        ('"a,b"', "after value|value"),
    ],
)
def test_a_fault_is_named_by_its_place(last, said):
    text = f"[{','.join(map(str, range(40)))},{last}]".encode()
    with pytest.raises(SignatureError, match=said):
        numbers(text, Tensor("x", "float32", (-1,)))


def test_ranges_are_those_of_the_type():
    for dtype, last in (("int8", 128), ("uint8", -1), ("uint64", 2**64), ("int64", 2**63), ("float16", 70000)):
        with pytest.raises(SignatureError):
            numbers(f"[1,{last}]".encode(), Tensor("x", dtype, (-1,)))


def test_rows_and_columns_are_read_where_all_are_numbers():
    assert of_rows(ONLY, b"[[1,2],[3,4]]").batch["a"].tolist() == [[1, 2], [3, 4]]
    assert of_columns(ONLY, b"[[1,2]]").batch["a"].tolist() == [[1, 2]]
    found = of_columns(PAIR, b'{"b": [5, 6], "a": [[1,2],[3,4]]}')
    assert (list(found.batch), found.count) == (["a", "b"], 2)
    for text in (b"[1,2]", b'[{"a":[1,2]}]', b'[["1","2"]]', b"null", b"3"):  # read otherwise, where that is refused
        assert of_rows(ONLY, text) is None
    assert of_rows(PAIR, b'[{"a":[1,2],"b":1}]') is None
    assert of_columns(PAIR, b'{"a": [[1,2]]}') is None
    with pytest.raises(SignatureError, match="has 1 rows"):
        of_columns(PAIR, b'{"b": [5], "a": [[1,2],[3,4]]}')
    with pytest.raises(SignatureError, match=r"has shape \[1, 3\]"):
        of_rows(ONLY, b"[[1,2,3]]")
