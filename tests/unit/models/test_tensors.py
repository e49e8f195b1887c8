import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tensor_served import DATATYPES, onnx_double

from headrace.errors import RegistrationRefused, SignatureError
from headrace.models.artifact import Artifact
from headrace.models.registry import Registration, fetch, register
from headrace.models.signature import Signature, Tensor
from headrace.models.tensors import NUMPY, from_cells, is_arrays, tensor_signature, to_cells

ARTIFACT = Artifact("onnx", {"model.onnx": onnx_double()}, ("x",), ("y",))
X = np.arange(12, dtype=np.float32).reshape(2, 2, 3)


def asked(**more):
    return Registration(
        **{"name": "double", "example": {"x": X}, "licence": "CC0-1.0", "answers": {"y": X * 2}, **more}
    )


def test_the_signature_is_the_example_with_any_number_of_rows(stores):
    version = register(stores, ARTIFACT, asked())
    assert version.signature == Signature(
        "tensor", (Tensor("x", "float32", (-1, 2, 3)),), (Tensor("y", "float32", (-1, 2, 3)),)
    )
    assert Signature.from_json(version.signature.to_json()) == version.signature
    examples = json.loads((fetch(stores.files, version) / "examples.json").read_bytes())
    assert (examples["tensors"], examples["outputs"]) == ({"x": X.tolist()}, {"y": (X * 2).tolist()})
    assert examples["tolerance"] == pytest.approx(22e-5)


def test_a_signature_may_be_said_where_the_example_cannot_show_it(stores):
    said = Signature("tensor", (Tensor("x", "float32", (-1, -1, 3)),), (Tensor("y", "float32", (-1, -1, 3)),))
    assert register(stores, ARTIFACT, asked(signature=said)).signature == said
    other = Signature("tensor", (Tensor("x", "float32", (-1, 4, 3)),), said.outputs)
    with pytest.raises(RegistrationRefused, match="4, 3"):
        register(stores, ARTIFACT, asked(signature=other))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"answers": {}}, "answers lacks 'y'"),
        ({"example": {"z": X}}, "example lacks 'x'"),
        ({"example": {"x": X[:0]}}, "none"),
        ({"example": {"x": X.astype(complex)}}, "complex"),
    ],
)
def test_an_example_that_does_not_show_a_signature_is_refused(stores, change, said):
    with pytest.raises(RegistrationRefused, match=said):
        register(stores, ARTIFACT, asked(**change))


def test_only_mappings_of_arrays_are_tensors():
    assert is_arrays({"x": X})
    assert not is_arrays({"x": [1.0]})
    assert not is_arrays({})
    assert not is_arrays(X)


@given(st.data(), st.sampled_from(sorted(set(DATATYPES) - {"string"})))
def test_cells_and_back_is_the_same_array(data, dtype):
    kind = np.dtype(NUMPY[dtype])
    extra = {"allow_nan": False, "allow_infinity": False} if kind.kind == "f" else {}
    array = data.draw(
        hnp.arrays(kind, hnp.array_shapes(max_dims=3, max_side=3), elements=hnp.from_dtype(kind, **extra))
    )
    back = from_cells(json.loads(json.dumps(to_cells(array))), Tensor("x", dtype, array.shape))
    assert back.dtype == array.dtype
    assert (back == array).all()


def test_text_that_is_no_utf8_is_kept_as_base64():
    assert to_cells(np.array([b"\xff", "ü"], object)) == [{"b64": "/w=="}, "ü"]
    assert from_cells([{"b64": "w7w="}], Tensor("x", "string", (-1,))).tolist() == ["ü"]


def test_bytes_are_kept_as_text_where_they_are_text():
    raw, tensor = np.array([b"\xff\x00", "ü".encode()], object), Tensor("x", "bytes", (-1,))
    cells = to_cells(raw)
    assert cells == [{"b64": "/wA="}, "ü"]
    assert from_cells(json.loads(json.dumps(cells)), tensor).tolist() == raw.tolist()
    assert from_cells([{"b64": "w7w="}], tensor).tolist() == ["ü".encode()]
    with pytest.raises(SignatureError, match="Unable to base64 decode"):
        from_cells([{"b64": "?"}], tensor)


@pytest.mark.parametrize(
    ("cells", "dtype"), [([b"\xff"], "bytes"), ([b"text"], "bytes"), (["text"], "string"), (["t", b"t"], "bytes")]
)
def test_an_example_of_objects_shows_whether_they_are_bytes(cells, dtype):
    shown = tensor_signature(ARTIFACT, {"x": np.array(cells, object)}, {"y": np.zeros(len(cells), np.float32)})
    assert shown.tensors == (Tensor("x", dtype, (-1,)),)


@pytest.mark.parametrize("cells", [[[1.0], [1.0, 2.0]], [["a"]], [[1e39]], [1.0], [[None]], [[1, 2, 3]]])
def test_cells_that_do_not_fit_are_refused(cells):
    with pytest.raises(SignatureError, match="'x'"):
        from_cells(cells, Tensor("x", "float32", (-1, 2)))
