"""Bodies that multiply, and shapes that lie, against a real server: refused, and its memory does not follow them."""

import gzip
import http.client
import io
import json
import zlib
from pathlib import Path

import grpc
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from server_process import serving
from tensor_served import onnx_double
from wine_project import ROW, until

from headrace.gateway.rpc.messages import INFERENCE
from headrace.gateway.rpc.tfs_messages import SERVING
from headrace.gateway.thrift import struct

MORE_KIB = 32 * 1024
MIB = 1024**2
JSON, PARQUET = "application/json", "application/vnd.apache.parquet"
PREDICT = "/v1/models/wine:predict"


WIDTH = 784


@pytest.fixture(scope="module")
def attacked(project, tmp_path_factory):
    """A server of its own, that has answered once in each way, so that what it needs anyhow is there.

    Besides the project's models it has ``wide``, of one tensor of ``[-1, 784]``: pictures.
    """
    models = tmp_path_factory.mktemp("models")
    (models / "wide" / "1").mkdir(parents=True)
    (models / "wide" / "1" / "model.onnx").write_bytes(onnx_double(shape=(None, WIDTH)))
    (models / "models.toml").write_text('[model.wide]\nlog = "off"\n')
    options = ("--endpoint", "wine", "--endpoint", "double", "--grpc-port", "0", "--models", str(models))
    with serving(project.root, *options) as found:
        until(lambda: "wide" in {one.name for one in found.client.overview().endpoints if one.state == "serving"})
        assert post(found, PREDICT, json.dumps({"instances": [ROW] * 2000}).encode())[0] == 200
        assert post(found, "/invocations", parquet({name: [value] for name, value in ROW.items()}), PARQUET)[0] == 200
        assert post(found, PREDICT, gzip.compress(json.dumps({"instances": [ROW]}).encode()), encoding="gzip")[0] == 200
        yield found


def post(server, path, body, kind=JSON, encoding="", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    headers |= {"content-type": kind} | ({"content-encoding": encoding} if encoding else {})
    try:
        connection.request("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def parquet(columns):
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def deflated(size=256 * MIB):
    """Zeros as a bare deflate stream, a thousandth of their size."""
    packer, piece = zlib.compressobj(1, zlib.DEFLATED, -15), bytes(MIB)
    return b"".join(packer.compress(piece) for _ in range(size // MIB)) + packer.flush()


def repeated(cell, count):
    """A column of few bytes: one cell, named many times."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([cell]))


class Peak:
    """How far the memory of a process rises within the block, in KiB."""

    def __init__(self, pid):
        self._folder, self.rise_kib = Path(f"/proc/{pid}"), 0

    def __enter__(self):
        (self._folder / "clear_refs").write_text("5")  # the peak begins anew
        self._before = self._kib("VmRSS")
        return self

    def __exit__(self, *_):
        self.rise_kib = self._kib("VmHWM") - self._before

    def _kib(self, name):
        lines = (self._folder / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name))


def bombs():
    wine = {"alcohol": [9.5] * 50_000, "density": [0.9] * 50_000}
    bare = deflated()
    gzipped = gzip.compress(b"", mtime=0)[:10] + bare + bytes(8)  # its checksum is wrong, but comes too late
    yield "gzip", (PREDICT, gzipped, JSON, "gzip"), 413
    yield "deflate", (PREDICT, b"\x78\x01" + bare, JSON, "deflate"), 413
    yield "bare deflate", (PREDICT, bare, JSON, "deflate"), 413
    yield "gzip in gzip", (PREDICT, gzip.compress(gzipped), JSON, "gzip"), 400
    yield "many members", (PREDICT, gzip.compress(bytes(MIB)) * 1000, JSON, "gzip"), 413
    yield "two encodings", (PREDICT, gzip.compress(gzipped), JSON, "gzip, gzip"), 415
    yield "CSV", ("/invocations", gzipped, "text/csv", "gzip"), 413
    yield "long texts", ("/invocations", parquet({**wine, "ph": repeated("x" * 100_000, 50_000)}), PARQUET), 400
    yield "long bytes", ("/invocations", parquet({**wine, "ph": repeated(b"x" * 100_000, 50_000)}), PARQUET), 400
    lists = pa.array([[0.0] * 3_000_000])
    yield "long lists", ("/invocations", parquet({"alcohol": [1.0], "density": [1.0], "ph": lists}), PARQUET), 422
    for name, body in lying_files():
        yield name, ("/invocations", body, PARQUET), 400
    csv = {"CSV rows": b"1\n" * (8 * MIB), "a CSV row": b"1," * (8 * MIB), "a CSV cell": b'"\n",' * (4 * MIB)}
    for name, rows in csv.items():
        yield name, ("/invocations", b"ph\n" + rows[: 16 * MIB - 3], "text/csv"), 400
    yield "18 MB", (PREDICT, b" " * 18_000_000), 413
    for name, path, body in crowds(16 * MIB):
        yield name, (path, body), 400


def lying_files():
    """Parquet files of few bytes that unpack to 96 MiB, or that say otherwise of that, or of their rows."""
    sink = io.BytesIO()
    texts = pa.table({"ph": ["x" * MIB] * 96})
    pq.write_table(texts, sink, use_dictionary=False, compression="zstd", data_page_size=256 * MIB)
    honest = sink.getvalue()
    yield "a large page", honest
    at = honest.index(varint(struct(honest, 4)[0][2]))
    yield "a page that lies", honest[:at] + varint(3 * MIB) + honest[at + 4 :]
    footer = int.from_bytes(honest[-8:-4], "little") + MIB
    yield "a large footer", honest[:-8] + bytes(MIB) + footer.to_bytes(4, "little") + b"PAR1"
    claimed = parquet({"ph": pa.nulls(100_001, pa.float64())})
    at = claimed.index(varint(100_001), len(claimed) // 2)
    yield (
        "rows that lie",
        claimed[:at] + b"\x82\x80\x00" + claimed[at + 3 :],
    )  # the file says 1, its only group says more


def varint(number):
    """A number as Thrift's compact protocol writes it."""
    digits, found = number * 2, b""
    while digits >= 128:
        digits, found = digits >> 7, found + bytes([digits & 127 | 128])
    return found + bytes([digits])


def crowds(size):
    """Bodies of so many bytes with far more rows or values than are allowed, in every JSON form."""
    predict, infer = "/v1/models/double:predict", "/v2/models/double/infer"
    yield "rows", PREDICT, filled(b'{"instances":[', b"{}", b"]}", size)
    yield "examples", "/v1/models/wine:classify", filled(b'{"examples":[', b"{}", b"]}", size)
    yield "columns", PREDICT, filled(b'{"inputs":{"alcohol":[', b"1", b"]}}", size)
    yield "tensors' rows", predict, filled(b'{"instances":[', b"[]", b"]}", size)
    yield "a tensor's columns", predict, filled(b'{"inputs":[', b"1", b"]}", size)
    yield "a wide row", predict, filled(b'{"instances":[[', b"1", b"]]}", size)
    for form in ("dataframe_records", "instances"):
        yield form, "/invocations", filled(b'{"%b":[' % form.encode(), b"{}", b"]}", size)
    yield "inputs", "/invocations", filled(b'{"inputs":{"alcohol":[', b"1", b"]}}", size)
    yield "split", "/invocations", filled(b'{"dataframe_split":{"columns":["ph"],"data":[', b"[1]", b"]}}", size)
    yield "a bare list", "/invocations", filled(b"[", b"{}", b"]", size)
    tensor = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2,3],"data":['
    yield "values", infer, filled(tensor, b"1", b"]}]}", size)
    yield "a shape", infer, filled(b'{"inputs":[{"name":"x","datatype":"FP32","shape":[', b"1", b"]}]}", size)
    yield "a column", "/v2/models/wine/infer", filled(tensor.replace(b"x", b"ph"), b"1", b"]}]}", size)


def filled(begin, item, end, size):
    """As many items as the size allows."""
    return begin + b",".join([item] * ((size - len(begin) - len(end)) // (len(item) + 1))) + end


BOMBS = {name: (asked, due) for name, asked, due in bombs()}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused(attacked, figure, name):
    asked, due = BOMBS[name]
    with Peak(attacked.pid) as peak:
        try:
            status, text = post(attacked, *asked)
        except (BrokenPipeError, ConnectionResetError):
            assert due == 413  # it was answered, and cut, while it was sent
            status, text = due, b"exceeds"
    figure("serving.bomb_rise_mib", peak.rise_kib / 1024)
    assert status == due, text
    assert due != 413 or b"exceeds" in text
    assert peak.rise_kib <= MORE_KIB + len(asked[1]) // 1024


def pictures(last):
    """Bodies of nearly 16 MiB whose rows are as the model takes them, but for the last one; by their form."""
    row = b"[%b]" % b",".join([b"1"] * WIDTH)
    count = 16 * MIB // (len(row) + 1) - 2
    rows = b"[%b,%b]" % (b",".join([row] * count), last)
    tensor = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[%d,%d],"data":' % (count + 1, WIDTH)
    yield "rows", "/v1/models/wide:predict", b'{"instances":%b}' % rows
    yield "columns", "/v1/models/wide:predict", b'{"inputs":{"x":%b}}' % rows
    yield "tensor", "/v2/models/wide/infer", tensor + rows + b"}]}"


RAGGED, WORDED = (b"[%b]" % b",".join(cells) for cells in ([b"1"] * 9, [b"1"] * (WIDTH - 1) + [b'"one"']))


@pytest.mark.parametrize("last", [RAGGED, WORDED], ids=["ragged", "a text"])
@pytest.mark.parametrize("form", ["rows", "columns", "tensor"])
def test_a_fault_in_the_last_row_of_a_large_tensor_costs_a_few_times_its_bytes(attacked, figure, form, last):
    ((path, body),) = [(path, body) for own, path, body in pictures(last) if own == form]
    with Peak(attacked.pid) as peak:
        status, text = post(attacked, path, body)
    figure("serving.late_fault_rise_mib", peak.rise_kib / 1024)
    assert (status, b"tensor 'x' is" in text) == (400, True), text
    assert peak.rise_kib <= 8 * len(body) // 1024  # as lists they took twenty times their bytes


def lies():
    """Method and message of calls whose shapes promise far more than they carry."""
    infer, predict = "/inference.GRPCInferenceService/ModelInfer", "/tensorflow.serving.PredictionService/Predict"
    for shape in ([2**31, 2, 3], [2**62, 2, 3], [-1, 2, 3], [2**32, 2**32, 3], [0, 2, 3], [2**62] * 1000):
        raw = INFERENCE.ModelInferRequest(model_name="double", raw_input_contents=[b"\0" * 24])
        raw.inputs.add(name="x", datatype="FP32", shape=shape)
        typed = INFERENCE.ModelInferRequest(model_name="double")
        typed.inputs.add(name="x", datatype="FP32", shape=shape).contents.fp32_contents.extend([0.0] * 6)
        packed, listed = SERVING.PredictRequest(), SERVING.PredictRequest()
        for request in (packed, listed):
            request.model_spec.name, request.inputs["x"].dtype = "double", 1
            for size in shape:
                request.inputs["x"].tensor_shape.dim.add(size=size)
        packed.inputs["x"].tensor_content = b"\0" * 24
        listed.inputs["x"].float_val.append(0.0)
        yield from ((infer, raw), (infer, typed), (predict, packed), (predict, listed))


def test_shapes_that_lie_over_grpc(attacked):
    with grpc.insecure_channel(attacked.rpc) as channel, Peak(attacked.pid) as peak:
        for method, message in lies():
            with pytest.raises(grpc.RpcError) as refused:
                channel.unary_unary(method)(message.SerializeToString(), timeout=10)
            assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert peak.rise_kib <= MORE_KIB


@pytest.mark.parametrize("shape", [[2**31, 2, 3], [2**62, 2, 3], [-1, 2, 3], [2**80, 2, 3], [0, 2**62, 2**62]])
def test_shapes_that_lie_over_http(attacked, shape):
    tensor = {"name": "x", "shape": shape, "datatype": "FP32"}
    raw = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": 24}}]}).encode()
    listed = json.dumps({"inputs": [{**tensor, "data": [0] * 6}]}).encode()
    with Peak(attacked.pid) as peak:
        length = {"inference_header_content_length": str(len(raw))}
        assert post(attacked, "/v2/models/double/infer", raw + b"\0" * 24, **length)[0] == 400
        assert post(attacked, "/v2/models/double/infer", listed)[0] == 400
    assert peak.rise_kib <= MORE_KIB


def test_it_still_answers(attacked, project):
    assert attacked.client.predict("wine", rows=[ROW]).values[0] == pytest.approx(project.answer(1.0))
    assert "Traceback" not in attacked.said()
