"""Whatever is sent, a decoder makes an input of it that fits the signature, or says what is wrong with it."""

import json
import time
from contextlib import suppress
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from served import ROW, WINE
from tensor_served import PAIR, PIXELS, echo

from headrace.errors import UsageError
from headrace.gateway import mlflow, tfs
from headrace.gateway.answers import parse
from headrace.gateway.oip_request import DATATYPES, parse_infer, parse_tensors
from headrace.gateway.parquet import of_parquet
from headrace.gateway.rpc.messages import INFERENCE
from headrace.gateway.rpc.tensors import parse_request
from headrace.gateway.rpc.tfs_messages import SERVING
from headrace.gateway.rpc.tfs_tensors import read_tensor
from headrace.gateway.tables import of_csv
from headrace.gateway.tfs_examples import parse_examples
from headrace.serving.request import TableDecoder
from headrace.serving.tensors import TensorDecoder

BUSY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
WORDS = TensorDecoder(echo("string"))
WIDE = TensorDecoder(echo("float32", (-1, -1, -1)))
DECODERS = [TableDecoder(WINE), TensorDecoder(PIXELS), TensorDecoder(PAIR), WORDS, WIDE]
NAMES = sorted({name for decoder in DECODERS for name in decoder.names} | {"", "colour", "inputs", "\0"})
EXTENTS = st.one_of(st.integers(-2, 4), st.sampled_from([2**31, 2**62, 2**63 - 1, -(2**63)]))
NUMBERS = st.one_of(st.integers(), st.floats(), st.sampled_from([2**63, 2**64, -1, 1e39]))
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=4), st.just({"b64": "AA=="}))
VALUES = st.recursive(
    LEAVES, lambda v: st.one_of(st.lists(v, max_size=4), st.dictionaries(st.sampled_from(NAMES), v)), max_leaves=12
)
DATATYPE = st.sampled_from([*DATATYPES.values(), "", "FP8"])
decoders = st.sampled_from(DECODERS)
forms = st.sampled_from(["instances", "inputs", "dataframe_records", "dataframe_split", "examples", "context"])


def held(decoder, read):
    """What ``read`` makes of it fits the signature, or it is refused with words."""
    live = SimpleNamespace(decoder=decoder, counters=SimpleNamespace(refused=0))
    begun = time.process_time()
    try:
        found = parse(live, b"", lambda *_: read())
    except UsageError:
        return
    finally:
        assert time.process_time() - begun < 2
    assert found.count >= 1
    for array in found.batch.values():
        assert len(array) == found.count


def first(parsed):
    """The input, where a parser tells more."""
    return next(part for part in parsed if hasattr(part, "batch")) if isinstance(parsed, tuple) else parsed


@BUSY
@given(
    decoders, st.dictionaries(forms, VALUES, max_size=2), st.sampled_from([tfs._parse, mlflow._parse, parse_examples])
)
def test_json(decoder, value, how):
    body = json.dumps(value).encode()
    held(decoder, lambda: first(how(decoder, body)))


tensors = st.builds(
    lambda name, shape, datatype, data, size: (
        {"name": name, "shape": shape, "datatype": datatype}
        | ({} if data is None else {"data": data})
        | ({} if size is None else {"parameters": {"binary_data_size": size}})
    ),
    *(st.sampled_from(NAMES), st.lists(EXTENTS, max_size=4), DATATYPE),
    *(st.one_of(st.none(), VALUES), st.one_of(st.none(), st.integers(-1, 40))),
)


@BUSY
@given(decoders, st.lists(tensors, max_size=3), st.binary(max_size=40), st.booleans())
@example(WORDS, [{"name": "x", "shape": [0, 2], "datatype": "BYTES", "data": []}], b"", True)
@example(WIDE, [{"name": "x", "shape": [0, 2**62, 2**62], "datatype": "FP32", "data": []}], b"", True)
@example(WIDE, [{"name": "x", "shape": [0, 2**70, 1], "datatype": "FP32", "data": []}], b"", True)
@example(
    WIDE,
    [{"name": "x", "shape": [2**70, 0, 1], "datatype": "FP32", "parameters": {"binary_data_size": 0}}], b"", True,
)  # fmt: skip
def test_tensors_with_raw_ones(decoder, sent, tail, told):
    head = json.dumps({"inputs": sent}).encode()
    held(decoder, lambda: first(parse_infer(decoder, head + tail, len(head) if told else None)))


@BUSY
@given(decoders, st.binary(max_size=64))
@example(WORDS, b"text")
@example(WIDE, b"\0" * 8)
def test_a_body_that_is_the_tensor(decoder, body):
    held(decoder, lambda: first(parse_infer(decoder, body, 0)))


rpc_tensors = st.tuples(st.sampled_from(NAMES), st.lists(EXTENTS, max_size=4), DATATYPE)


@BUSY
@given(decoders, st.lists(rpc_tensors, max_size=3), st.lists(st.binary(max_size=48), max_size=3), st.data())
def test_protobuf_tensors(decoder, sent, raw, data):
    request = INFERENCE.ModelInferRequest(raw_input_contents=raw)
    for name, shape, datatype in sent:
        tensor = request.inputs.add(name=name, shape=shape, datatype=datatype)
        if not raw:
            tensor.contents.fp32_contents.extend(data.draw(st.lists(st.floats(width=32), max_size=4)))
            tensor.contents.bytes_contents.extend(data.draw(st.lists(st.binary(max_size=3), max_size=3)))
            tensor.contents.int_contents.extend(data.draw(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3)))
    held(decoder, lambda: first(parse_request(decoder, request)))


def test_no_values_in_a_shape_that_no_array_has():
    for extents in ([0, 2**62, 2**62], [2**63 - 1, 0, 1]):
        request = INFERENCE.ModelInferRequest()
        request.inputs.add(name="x", shape=extents, datatype="FP32")
        held(WIDE, lambda request=request: first(parse_request(WIDE, request)))
        tensor = SERVING.TensorProto(dtype=1)
        for size in extents:
            tensor.tensor_shape.dim.add(size=size)
        held(WIDE, lambda tensor=tensor: parse_tensors(WIDE, [read_tensor("x", tensor)]))


@BUSY
@given(decoders, st.lists(st.tuples(st.sampled_from(NAMES), st.lists(EXTENTS, max_size=4)), max_size=3), st.data())
def test_tensorflow_tensors(decoder, sent, data):
    made = []
    for name, shape in sent:
        tensor = SERVING.TensorProto(dtype=data.draw(st.sampled_from([0, 1, 2, 3, 7, 9, 10, 19, 23, 99])))
        for size in shape:
            tensor.tensor_shape.dim.add(size=size)
        tensor.tensor_content = data.draw(st.one_of(st.just(b""), st.binary(max_size=48)))
        tensor.float_val.extend(data.draw(st.lists(st.floats(width=32), max_size=3)))
        tensor.string_val.extend(data.draw(st.lists(st.binary(max_size=3), max_size=3)))
        tensor.half_val.extend(data.draw(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3)))
        made.append((name, tensor))
    held(decoder, lambda: parse_tensors(decoder, [read_tensor(name, tensor) for name, tensor in made]))


TABLE = ",".join(ROW) + "\n12.5,riesling,2019,3.5,true\n"


@BUSY
@given(st.text('0129.e-+_,"\n\rinfat ²٣\0', max_size=30), st.integers(0, len(TABLE)))
def test_csv(text, at):
    body = (TABLE[:at] + text + TABLE[at:]).encode()
    held(DECODERS[0], lambda: of_csv(DECODERS[0], body))


@pytest.fixture(scope="module")
def parquet(tmp_path_factory):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path_factory.mktemp("parquet") / "good.parquet"
    pq.write_table(pa.table({name: [value] * 3 for name, value in ROW.items()}), path)
    return path.read_bytes()


@BUSY
@given(st.data())
def test_parquet(parquet, data):
    """That reading ends, in bounded time, without taking the process down."""
    spoilt = bytearray(parquet)
    for at in data.draw(st.lists(st.integers(0, len(parquet) - 1), min_size=1, max_size=3)):
        spoilt[at] ^= 1 << data.draw(st.integers(0, 7))
    cut = data.draw(st.sampled_from([len(spoilt), len(spoilt) // 2, 8, 4]))
    with suppress(Exception):  # the protocol answers 400 to whatever a reader of foreign files raises
        held(DECODERS[0], lambda: of_parquet(DECODERS[0], bytes(spoilt[:cut])))
