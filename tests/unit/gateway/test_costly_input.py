"""Short requests that claim or multiply into something large are refused before they cost it."""

import gzip
import json
import time

import pytest
from served import ROW, WINE

from headrace.errors import SignatureError
from headrace.gateway.encodings import UnreadableBody, unpacked
from headrace.gateway.faults import SAID_BYTES, said
from headrace.gateway.rpc.messages import INFERENCE
from headrace.gateway.rpc.tensors import parse_request
from headrace.gateway.rpc.tfs_messages import SERVING
from headrace.gateway.rpc.tfs_tensors import read_tensor
from headrace.gateway.tfs_examples import of_examples, parse_examples
from headrace.serving.request import ROWS_LIMIT, TableDecoder

CPU_S = 1.0


@pytest.mark.parametrize("version", ["9" * 5000, "%C2%B2", "0_1", "-1", "+1", "%20"])
def test_a_version_that_is_no_number_is_400(post, version):
    for path in ("/v1/models/wine/versions/{}:predict", "/v2/models/wine/versions/{}/infer"):
        status, reply = post(path.format(version), {"instances": [ROW]})
        assert (status, len(reply["error"]) < 100) == (400, True)


def test_a_body_of_many_empty_members_is_refused():
    begun = time.process_time()
    with pytest.raises(UnreadableBody, match="members"):
        unpacked(gzip.compress(b"", mtime=0) * 400_000, b"gzip")
    assert time.process_time() - begun < CPU_S


def test_members_within_reason_are_read():
    assert unpacked(b"".join(gzip.compress(b"%d" % i) for i in range(9)), b"gzip") == b"012345678"


def test_a_context_is_checked_before_each_example_carries_it():
    context = {f"x{i}": 1 for i in range(10_000)}
    begun = time.process_time()
    with pytest.raises(SignatureError, match="is not an input"):
        of_examples(TableDecoder(WINE), [{}] * 100_000, context)
    assert time.process_time() - begun < CPU_S


def test_a_tensor_of_a_million_extents_is_refused():
    tensor = SERVING.TensorProto(dtype=1)
    for _ in range(100_000):
        tensor.tensor_shape.dim.add(size=2**62)
    begun = time.process_time()
    with pytest.raises(SignatureError, match="100000 extents"):
        read_tensor("x", tensor)
    assert time.process_time() - begun < CPU_S


def test_one_long_text_does_not_stand_for_many():
    tensor = SERVING.TensorProto(dtype=7, string_val=[b"x" * 1_000_000])
    tensor.tensor_shape.dim.add(size=100)
    with pytest.raises(SignatureError, match="has 1 values"):
        read_tensor("x", tensor)
    tensor.string_val[0] = b"x"
    assert read_tensor("x", tensor)[1].tolist() == [b"x"] * 100


def test_the_extents_of_a_tensor_are_counted_before_they_are_multiplied():
    request = INFERENCE.ModelInferRequest()
    request.inputs.add(name="alcohol", datatype="FP64", shape=[2**62] * 100_000)
    begun = time.process_time()
    with pytest.raises(SignatureError, match="100000 extents"):
        parse_request(TableDecoder(WINE), request)
    assert time.process_time() - begun < CPU_S


def test_a_long_error_keeps_its_begin_and_its_end():
    text = said(SignatureError("tensor '%s' is no input" % ("\U0001f347" * 9999), why="it takes x"))
    assert len(text.encode()) <= SAID_BYTES
    assert (text[:8], text[-24:]) == ("tensor '", "' is no input - it takes x"[-24:])


@pytest.mark.parametrize(
    ("path", "form"),
    [("/v1/models/wine:predict", "instances"), ("/v1/models/wine:classify", "examples"),
     ("/invocations", "dataframe_records"), ("/invocations", "instances")],
)  # fmt: skip
def test_more_rows_than_the_limit_are_refused(post, path, form):
    row = json.dumps(ROW, separators=(",", ":")).encode()
    body = b'{"%b":[%b]}' % (form.encode(), b",".join([row] * (ROWS_LIMIT + 1)))
    status, reply = post(path, body)
    assert status in {400, 422}
    assert str(ROWS_LIMIT) in str(reply)


def test_examples_without_end_are_refused():
    with pytest.raises(Exception, match=str(ROWS_LIMIT)):
        parse_examples(TableDecoder(WINE), b'{"examples":[%b]}' % b",".join([b"{}"] * (ROWS_LIMIT + 1)))
