import numpy as np
import pytest
from tensor_served import DATATYPES, PAIR, echo, echoed, renamed, tensors_gated

from headrace.errors import NotFound, SignatureError
from headrace.models.tensors import NUMPY


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    served = {dtype: (echo(dtype), echoed) for dtype in DATATYPES} | {"pair": (PAIR, renamed)}
    with tensors_gated(tmp_path_factory.mktemp("stream"), served) as found:
        yield found


@pytest.mark.parametrize("dtype", DATATYPES)
def test_every_type_goes_there_and_back(gate, dtype):
    sent = np.array([["é", ""], ["b", "c"]], object) if dtype == "string" else np.array([[0, 1], [1, 0]], NUMPY[dtype])
    answer, outputs = gate.client.infer(dtype, {"x": sent})
    (found,) = outputs.values()
    assert found.tolist() == sent.tolist()
    assert dtype == "string" or found.dtype == sent.dtype
    assert (answer.winner, answer.values.tolist()) == (f"{dtype}@1", sent.tolist())
    assert gate.client.infer(dtype, {"x": sent[:1]}, version=1)[0].winner == f"{dtype}@1"


def test_byte_order_and_layout_of_the_callers_array_do_not_matter(gate):
    sent = np.array([[1.5, 2.5], [3.5, 4.5]], ">f4").T
    _, outputs = gate.client.infer("float32", {"x": sent})
    assert next(iter(outputs.values())).tolist() == sent.tolist()


def test_what_does_not_fit_is_told_in_headraces_errors(gate):
    with pytest.raises(SignatureError, match="complex128"):
        gate.client.infer("float32", {"x": np.array([[1j]])})
    with pytest.raises(SignatureError, match="FP64"):
        gate.client.infer("float32", {"x": np.array([[1.0]])})
    with pytest.raises(NotFound):
        gate.client.infer("gone", {"x": np.array([[1.0]])})


def test_a_label_asks_one_version(gate):
    async def move():
        gate.plane.move("float32", "challenger", 1)

    gate.call(move())
    with gate.client as client:
        assert client.predict("float32", rows=[[1.0, 2.0]], label="challenger").winner == "float32@1"
