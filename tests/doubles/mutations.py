"""Valid requests of every protocol of a gateway that serves ``wine`` and ``double``, and how they are spoilt."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
from wine_project import COLUMNS, ROW

from headrace.gateway.rpc.messages import INFERENCE
from headrace.gateway.rpc.tfs_messages import SERVING

PIXELS = [[[float(i + j + k) for k in range(3)] for j in range(2)] for i in range(2)]
LENGTH = "inference-header-content-length"
TOKENS = [
    *(b"", b"null", b"true", b"-1", b"0", b"1e400", b"-0.0", b"NaN", b"Infinity", b'""', b"[]", b"{}", b'"\\ud800"'),
    *(b'"\\u0000"', b"9" * 30, b"9" * 5000, b"18446744073709551616", b"[" * 600, b'{"b64":"AA=="}', b'{"a":' * 90),
    *(
        b"\x00",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\r\n\r\n",
        b"%00",
        b"../",
        b"%2e%2e%2f",
        b"\\",
        b"@",
        b":",
        b"/versions/9",
    ),
]


def _json(path, value, **headers):
    return path, {"content-type": "application/json", **headers}, json.dumps(value).encode()


def _tensor(name, cells, shape, datatype="FP64", **more):
    return {"name": name, "shape": shape, "datatype": datatype, "data": cells} | more


def _parquet():
    sink = io.BytesIO()
    pq.write_table(pa.table(COLUMNS), sink)
    return sink.getvalue()


def http_requests():
    """Path, headers and body of requests that are answered 200; GET where there is no body."""
    split = {"columns": list(COLUMNS), "data": [list(ROW.values())]}
    infer = {"id": "a", "inputs": [_tensor(n, [v], [1]) for n, v in ROW.items()], "outputs": [{"name": "quality"}]}
    raw = _tensor("x", [], [2, 2, 3], "FP32", parameters={"binary_data_size": 48})
    del raw["data"]
    head = json.dumps({"inputs": [raw], "outputs": [{"name": "y", "parameters": {"binary_data": True}}]}).encode()
    lines = [",".join(COLUMNS), *(",".join(map(str, row)) for row in zip(*COLUMNS.values(), strict=True))]
    found = [
        _json("/v1/models/wine:predict", {"instances": [ROW, ROW]}),
        _json("/v1/models/wine/versions/1:predict", {"signature_name": "serving_default", "inputs": COLUMNS}),
        _json("/v1/models/wine:classify", {"context": {"ph": 3.1}, "examples": [{"alcohol": 9.5, "density": 0.9}]}),
        _json("/v1/models/wine:regress", {"examples": [ROW]}),
        _json("/v1/models/double:predict", {"instances": PIXELS}),
        _json("/v1/models/double:predict", {"inputs": {"x": PIXELS}}),
        _json("/v2/models/wine/infer", infer),
        _json("/v2/models/double/versions/1/infer", {"inputs": [_tensor("x", PIXELS, [2, 2, 3], "FP32")]}),
        ("/v2/models/double/infer", {LENGTH: str(len(head))}, head + b"\0" * 48),
        ("/v2/models/double/infer", {LENGTH: "0"}, b"\0" * 24),
        _json("/v2/repository/index", {"ready": True}),
        _json("/invocations", {"dataframe_split": split, "params": {"a": 1}}),
        _json("/invocations", {"dataframe_records": [ROW]}),
        _json("/invocations", {"instances": [ROW]}),
        _json("/invocations", {"inputs": COLUMNS}),
        ("/invocations", {"content-type": "text/csv"}, "\n".join(lines).encode()),
        ("/invocations", {"content-type": "application/vnd.apache.parquet"}, _parquet()),
        _json("/predict", {"instances": [ROW]}),
    ]
    reads = ["/v1/models/wine", "/v1/models/wine/versions/1/metadata", "/v2/models/wine/config", "/v2/models/stats"]
    reads += ["/v2/models/wine/versions/1", "/v2/models/double/ready", "/alive", "/ping", "/metrics", "/openapi.json"]
    return found + [(path, {}, b"") for path in reads]


def rpc_requests():
    """Method and message of calls that are answered."""
    infer = INFERENCE.ModelInferRequest(model_name="wine", id="a")
    for name, value in ROW.items():
        infer.inputs.add(name=name, datatype="FP64", shape=[1]).contents.fp64_contents.append(value)
    raw = INFERENCE.ModelInferRequest(model_name="double", model_version="1", raw_input_contents=[b"\0" * 48])
    raw.inputs.add(name="x", datatype="FP32", shape=[2, 2, 3])
    raw.outputs.add(name="y")
    predict, packed = SERVING.PredictRequest(), SERVING.PredictRequest(output_filter=["y"])
    predict.model_spec.name, packed.model_spec.name = "wine", "double"
    packed.model_spec.version.value = 1
    for name, value in ROW.items():
        predict.inputs[name].dtype = 2
        predict.inputs[name].tensor_shape.dim.add(size=1)
        predict.inputs[name].double_val.append(value)
    packed.inputs["x"].dtype, packed.inputs["x"].tensor_content = 1, b"\0" * 48
    for size in (2, 2, 3):
        packed.inputs["x"].tensor_shape.dim.add(size=size)
    metadata = SERVING.GetModelMetadataRequest(model_spec={"name": "wine"}, metadata_field=["signature_def"])
    inference, prediction = "/inference.GRPCInferenceService/", "/tensorflow.serving.PredictionService/"
    calls = {
        inference + "ModelReady": INFERENCE.ModelReadyRequest(name="wine", version="1"),
        inference + "ModelMetadata": INFERENCE.ModelMetadataRequest(name="double"),
        inference + "ModelStatistics": INFERENCE.ModelStatisticsRequest(name="wine"),
        inference + "RepositoryIndex": INFERENCE.RepositoryIndexRequest(ready=True),
        prediction + "GetModelMetadata": metadata,
        "/tensorflow.serving.ModelService/GetModelStatus": SERVING.GetModelStatusRequest(model_spec={"name": "wine"}),
    }
    scored = [(inference + "ModelInfer", infer), (inference + "ModelInfer", raw)]
    scored += [(prediction + "Predict", predict), (prediction + "Predict", packed)]
    return [(method, message.SerializeToString()) for method, message in (*scored, *calls.items())]


def spoilt(data, random):
    """``data`` with one to four pieces flipped, cut, doubled, moved, or replaced by what parsers trip over."""
    data = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4))):
        at, size = random.randrange(len(data) + 1), random.choice((1, 1, 2, 4, 16))
        end, kind = at + size, random.randrange(7)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << random.randrange(8)
        elif kind == 1:
            del data[at:end]
        elif kind == 2:
            data[at:at] = data[at:end] * random.choice((1, 2, 50))
        elif kind == 3:
            data[at:end] = random.choice(TOKENS)
        elif kind == 4:
            data[at:at] = random.choice(TOKENS)
        elif kind == 5:
            data[at:end] = random.randbytes(size)
        else:
            del data[at:]
    return bytes(data)
