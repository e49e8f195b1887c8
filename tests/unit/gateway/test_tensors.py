"""Models of tensors on every protocol: JSON and raw, in and out."""

import json
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tensor_served import DATATYPES, PAIR, PIXELS, echo, echoed, posting, renamed, sums, tensors_gated

from headrace.gateway.oip_reply import to_bytes
from headrace.gateway.oip_request import from_bytes
from headrace.models.signature import Tensor
from headrace.models.tensors import NUMPY, as_words

ONE = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
TWO = [ONE, [[0.0, 0.0, 0.0], [0.0, 0.0, 0.5]]]
DOUBLED = (np.array(TWO) * 2).tolist()


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    served = {"pixels": (PIXELS, sums), "pair": (PAIR, renamed)}
    served |= {dtype: (echo(dtype), echoed) for dtype in DATATYPES}
    with tensors_gated(tmp_path_factory.mktemp("stream"), served) as found:
        yield found


@pytest.fixture
def post(gate):
    return posting(gate)


def test_rows_and_columns_of_tensorflow_serving(post):
    due = [{"sum": 21.0, "double": DOUBLED[0]}, {"sum": 0.5, "double": DOUBLED[1]}]
    assert post("/v1/models/pixels:predict", {"instances": TWO}) == (200, {"predictions": due})
    assert post("/v1/models/pixels:predict", {"instances": [{"pixels": row} for row in TWO]})[1]["predictions"] == due
    columns = {"sum": [21.0, 0.5], "double": DOUBLED}
    assert post("/v1/models/pixels:predict", {"inputs": TWO}) == (200, {"outputs": columns})
    assert post("/v1/models/pixels:predict", {"inputs": {"pixels": TWO}}) == (200, {"outputs": columns})


def test_the_forms_of_mlflow(post):
    for body in ({"instances": TWO}, {"inputs": TWO}, {"inputs": {"pixels": TWO}}):
        status, reply = post("/invocations", body, {"content-type": "application/json"})
        assert (status, [row["sum"] for row in reply["predictions"]]) == (200, [21.0, 0.5])


@pytest.mark.parametrize("data", [TWO, np.array(TWO).ravel().tolist()], ids=["nested", "flat"])
def test_the_open_inference_protocol(post, data):
    sent = {"name": "pixels", "shape": [2, 2, 3], "datatype": "FP32", "data": data}
    status, reply = post("/v2/models/pixels/infer", {"id": "7", "inputs": [sent], "outputs": [{"name": "double"}]})
    due = {"name": "double", "shape": [2, 2, 3], "datatype": "FP32", "data": np.ravel(DOUBLED).tolist()}
    assert (status, reply["id"], reply["outputs"]) == (200, "7", [due])


def test_several_inputs_one_of_any_extent(post):
    rows = [{"a": 1, "name": ["x", "y"]}, {"a": 2, "name": [{"b64": "esO8"}, ""]}]
    due = [[{"b64": "eDE="}, {"b64": "eTE="}], [{"b64": "esO8Mg=="}, {"b64": "Mg=="}]]
    assert post("/v1/models/pair:predict", {"instances": rows}) == (200, {"predictions": due})
    columns = {name: [row[name] for row in rows] for name in ("a", "name")}
    assert post("/v1/models/pair:predict", {"inputs": columns}) == (200, {"outputs": due})


FAULTS = {
    "ragged": ([[[1, 2, 3], [4, 5]]], "length"),
    "too short": ([[1, 2, 3]], "Expected"),
    "too deep": ([[ONE]], "xpected"),
    "text": ([[["1", 2, 3], [4, 5, 6]]], "expected float"),
    "null": ([[[None, 2, 3], [4, 5, 6]]], "xpected float"),
    "too large for float32": ([[[1e39, 2, 3], [4, 5, 6]]], "float <= 3.4028"),
    "another name": ([{"pixel": ONE}], "pixel"),
    "none": ([], "no rows"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_instances_that_do_not_fit_are_refused(post, name):
    body, said = FAULTS[name]
    status, reply = post("/v1/models/pixels:predict", {"instances": body})
    assert status == 400
    assert said.lower() in reply["error"].lower()
    assert post("/invocations", {"instances": body}, {"content-type": "application/json"})[0] == 422


def test_ragged_in_an_extent_that_varies_is_refused(post):
    status, reply = post("/v1/models/pair:predict", {"inputs": {"a": [1, 2], "name": [["x"], ["x", "y"]]}})
    assert (status, "'name'" in reply["error"]) == (400, True)
    status, reply = post("/v1/models/pair:predict", {"inputs": {"a": [1, 2], "name": [["x"]]}})
    assert (status, "1 rows" in reply["error"]) == (400, True)


LIES = {
    "of other extents": ({"shape": [1, 3, 2]}, "has shape"),
    "of another rank": ({"shape": [6]}, "has shape"),
    "negative": ({"shape": [-1, 2, 3]}, "has shape"),
    "beyond memory": ({"shape": [2**62, 2, 3]}, "too few values"),
    "too many": ({"data": list(range(7))}, "refused"),
    "too few": ({"shape": [2, 2, 3], "data": [1]}, "too few values"),
    "nested otherwise": ({"shape": [2, 2, 3], "data": [ONE]}, "has shape"),
    "of another type": ({"datatype": "FP64"}, "FP32 is due"),
    "of no type": ({"datatype": "FP33"}, "FP32 is due"),
    "raw and short": ({"parameters": {"binary_data_size": 24}}, "bytes are left"),
    "negative size": ({"parameters": {"binary_data_size": -1}}, "bytes are left"),
    "another name": ({"name": "x"}, "not an input"),
    "elsewhere": ({"parameters": {"shared_memory_region": "a"}}, "shared memory is not spoken - tensor 'pixels'"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_tensor_that_lies_is_refused(post, name):
    change, said = LIES[name]
    sent = {"name": "pixels", "shape": [1, 2, 3], "datatype": "FP32", "data": ONE} | change
    status, reply = post("/v2/models/pixels/infer", {"inputs": [sent]})
    assert status == 400
    assert said in reply["error"]


def test_an_output_in_shared_memory_is_refused(post):
    """A client would read there what lay there before, and take that for the answer."""
    sent = {"name": "pixels", "shape": [1, 2, 3], "datatype": "FP32", "data": [ONE]}
    wanted = {"name": "sum", "parameters": {"shared_memory_region": "a", "shared_memory_byte_size": 4}}
    status, reply = post("/v2/models/pixels/infer", {"inputs": [sent], "outputs": [wanted]})
    assert (status, "shared memory is not spoken - tensor 'sum'" in reply["error"]) == (400, True)


def test_the_log_holds_the_tensors_as_nested_lists(gate, post):
    reply = gate.client.request("POST", "/v1/models/pixels:predict", json.dumps({"instances": TWO}).encode())
    logged = _log(gate, "pixels").find(reply.header("x-headrace-id"))
    assert logged.columns == {"pixels": TWO}
    assert logged.outputs == {"sum": [21.0, 0.5], "double": DOUBLED}


def _log(gate, name):
    from headrace.serving.log import RequestLog

    return RequestLog(gate.stream, name)


def test_metadata_says_datatypes_and_extents(gate):
    reply = json.loads(gate.client.request("GET", "/v2/models/pixels").body)
    assert reply["inputs"] == [{"name": "pixels", "datatype": "FP32", "shape": [-1, 2, 3]}]
    reply = json.loads(gate.client.request("GET", "/v1/models/pixels/metadata").body)
    info = reply["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]["pixels"]
    assert (info["dtype"], [d["size"] for d in info["tensor_shape"]["dim"]]) == ("DT_FLOAT", ["-1", "2", "3"])


def arrays(dtype, shape):
    if dtype == "string":
        return hnp.arrays(object, shape, elements=st.text(max_size=5), fill=st.nothing())
    kind = np.dtype(NUMPY[dtype])
    extra = {"allow_nan": False, "allow_infinity": False} if kind.kind == "f" else {}
    return hnp.arrays(kind, shape, elements=hnp.from_dtype(kind, **extra))


@pytest.mark.parametrize("dtype", DATATYPES)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), raw_in=st.booleans(), raw_out=st.booleans())
def test_every_datatype_goes_there_and_back(gate, dtype, data, raw_in, raw_out):
    array = data.draw(arrays(dtype, (data.draw(st.integers(1, 3)), 2)))
    sent = {"name": "x", "shape": list(array.shape), "datatype": DATATYPES[dtype]}
    tail = to_bytes(array, dtype) if raw_in else b""
    sent |= {"parameters": {"binary_data_size": len(tail)}} if raw_in else {"data": array.tolist()}
    wanted = [{"name": "y", "parameters": {"binary_data": raw_out}}]
    head = json.dumps({"inputs": [sent], "outputs": wanted}).encode()
    headers = {"inference-header-content-length": str(len(head))} if raw_in else {}
    reply = gate.client.request("POST", f"/v2/models/{dtype}/infer", head + tail, headers)
    assert reply.status == 200, reply.body
    size = int(reply.header("inference-header-content-length") or len(reply.body))
    (output,) = json.loads(reply.body[:size])["outputs"]
    if raw_out:
        found = from_bytes(memoryview(reply.body)[size:], name="y", datatype=output["datatype"], shape=output["shape"])
    else:
        found = np.array(output["data"], NUMPY[dtype]).reshape(output["shape"])
    if dtype == "string":
        found = as_words(found, Tensor("y", dtype, ()))
    assert found.dtype == array.dtype
    assert (found == array).all()


def test_a_raw_body_is_the_only_input(gate):
    headers = {"inference-header-content-length": "0"}
    body = np.array(ONE, "<f4").tobytes()
    reply = gate.client.request("POST", "/v2/models/pixels/infer", body, headers)
    size = int(reply.header("inference-header-content-length"))
    assert json.loads(reply.body[:size])["outputs"][0]["shape"] == [1]
    assert struct.unpack_from("<f", reply.body, size) == (21.0,)
    assert gate.client.request("POST", "/v2/models/pixels/infer", body[:-1], headers).status == 400
    assert gate.client.request("POST", "/v2/models/pair/infer", body, headers).status == 400


@pytest.mark.parametrize(
    ("cells", "tail"), [(2, b"\x01\x00\x00\x00x"), (1, b"\xff\xff\xff\xffx"), (1, b"\x01\x00\x00\x00xy"), (10**9, b"")]
)
def test_raw_text_whose_lengths_lie_is_refused(post, cells, tail):
    numbers = {"name": "a", "shape": [1], "datatype": "INT64", "data": [1]}
    sent = {"name": "name", "shape": [1, cells], "datatype": "BYTES", "parameters": {"binary_data_size": len(tail)}}
    head = json.dumps({"inputs": [numbers, sent]}).encode()
    status, reply = post("/v2/models/pair/infer", head + tail, {"inference-header-content-length": str(len(head))})
    assert (status, "'name'" in reply["error"]) == (400, True)


@pytest.mark.parametrize("header", ["x", "-1", "99999", "9" * 30])
def test_a_header_length_that_lies_is_refused(post, header):
    assert post("/v2/models/pixels/infer", b"{}", {"inference-header-content-length": header})[0] == 400
