"""The classic tutorial on wine quality: its record gives 6.1020 by name and 6.3794 by position, which no route allows.

The tutorial's server answers 6.3794 with HTTP 200: the record's columns stand in alphabetical order, and are scored by
position. Data: UCI white wine, as mlflow/mlflow-example@0651d1c has it.
"""

import io
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import grpc
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import ElasticNet
from sklearn.model_selection import train_test_split

from headrace.assembly import open_platform
from headrace.client import Client
from headrace.delivery.deploy import deploy
from headrace.gateway.rpc.messages import INFERENCE
from headrace.gateway.rpc.tfs_messages import SERVING
from headrace.gateway.rpc.tfs_tensors import write_tensor
from headrace.journey.optimize import Optimization, optimized
from headrace.models.registry import Registration, register
from headrace.serving.endpoint import Endpoint, Preference
from headrace.settings import load_settings

RECORD = {
    "alcohol": 12.8,
    "chlorides": 0.029,
    "citric acid": 0.48,
    "density": 0.98,
    "fixed acidity": 6.2,
    "free sulfur dioxide": 29.0,
    "pH": 3.33,
    "residual sugar": 1.2,
    "sulphates": 0.39,
    "total sulfur dioxide": 75.0,
    "volatile acidity": 0.66,
}
BY_NAME, BY_POSITION = 6.1020165, 6.3794288
VALUES = list(RECORD.values())
JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"


def trained():
    """The tutorial's model: a linear regression of quality, its rows split by NumPy's seed 40."""
    table = pl.read_csv(Path(os.environ["HEADRACE_TEST_DATA"]) / "wine-quality" / "wine-quality.csv")
    rows, _ = train_test_split(np.arange(len(table)), random_state=np.random.RandomState(40))
    fit = table[rows]
    inputs = fit.drop("quality").cast(pl.Float64)
    return ElasticNet(alpha=1, l1_ratio=1, random_state=42).fit(inputs, fit["quality"]), inputs


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    if "HEADRACE_TEST_DATA" not in os.environ:
        pytest.skip("HEADRACE_TEST_DATA names no folder with the wine data")
    root = tmp_path_factory.mktemp("wine")
    (root / "headrace.toml").write_text("")
    model, inputs = trained()
    platform = open_platform(load_settings(root))
    artifact = optimized(
        platform.converter("sklearn"), platform.runtime("onnx"), model, inputs, Optimization(output="quality")
    )
    register(platform.stores(), artifact, Registration("wine", inputs.head(5), "CC-BY-4.0"))
    deploy(platform.ledger(), Endpoint("wine", (Preference("wine", 1.0),), 2.0, {"quality": 5.9}), who="test")
    platform.close()
    command = [sys.executable, "-m", "headrace.gateway", "--root", str(root), "--port", "0", "--grpc-port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as gateway:
        lines = "".join(gateway.stdout.readline() for _ in range(2))
        rpc, http = re.findall(r"127\.0\.0\.1:\d+", lines)
        client = Client(f"http://{http}")
        client.wait_ready()
        yield client, rpc, model
        client.close()
        gateway.terminate()
        assert gateway.wait(15) == 0


def ask(client, path, body, kind=JSON):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = client.request("POST", path, data, {"content-type": kind})
    return reply.status, reply.body


def shuffled():
    names = list(RECORD)
    random.Random(3).shuffle(names)
    return {name: RECORD[name] for name in names}


def parquet(record):
    sink = io.BytesIO()
    pq.write_table(pa.table({name: [value] for name, value in record.items()}), sink)
    return sink.getvalue()


def csv(record):
    return (",".join(record) + "\n" + ",".join(map(str, record.values()))).encode()


def tensors(record):
    return {"inputs": [{"name": n, "shape": [1], "datatype": "FP64", "data": [v]} for n, v in record.items()]}


NAMED = {
    "dataframe_split": lambda r: (
        "/invocations",
        {"dataframe_split": {"columns": list(r), "data": [list(r.values())]}},
    ),
    "dataframe_records": lambda r: ("/invocations", {"dataframe_records": [r]}),
    "a bare list": lambda r: ("/invocations", [r]),
    "csv": lambda r: ("/invocations", csv(r), CSV),
    "parquet": lambda r: ("/invocations", parquet(r), PARQUET),
    "rows": lambda r: ("/v1/models/wine:predict", {"instances": [r]}),
    "columns": lambda r: ("/v1/models/wine:predict", {"inputs": {n: [v] for n, v in r.items()}}),
    "regress": lambda r: ("/v1/models/wine:regress", {"examples": [r]}),
    "tensors": lambda r: ("/v2/models/wine/infer", tensors(r)),
}
MATRIX = {"name": "x", "shape": [1, 11], "datatype": "FP64", "data": VALUES}
UNNAMED = {
    "dataframe_split": ("/invocations", {"dataframe_split": {"data": [VALUES]}}, 422),
    "inputs": ("/invocations", {"inputs": [VALUES]}, 422),
    "instances": ("/invocations", {"instances": [VALUES]}, 422),
    "a bare list": ("/invocations", [VALUES], 422),
    "rows": ("/v1/models/wine:predict", {"instances": [VALUES]}, 400),
    "columns": ("/v1/models/wine:predict", {"inputs": [VALUES]}, 400),
    "one tensor": ("/v2/models/wine/infer", {"inputs": [MATRIX]}, 400),
}


def numbers(body):
    """Every number in a JSON reply."""
    found = []

    def walk(value):
        if isinstance(value, dict):
            [walk(v) for k, v in value.items() if k not in {"shape", "model_version", "id"}]
        elif isinstance(value, list):
            [walk(v) for v in value]
        elif isinstance(value, float):
            found.append(value)

    walk(json.loads(body))
    return found


def test_the_model_is_the_tutorials(served):
    model = served[2]
    assert model.predict(pl.DataFrame([RECORD])[list(model.feature_names_in_)])[0] == pytest.approx(BY_NAME, abs=1e-6)
    with pytest.warns(UserWarning, match="feature names"):
        assert model.predict([VALUES])[0] == pytest.approx(BY_POSITION, abs=1e-6)


@pytest.mark.parametrize("form", NAMED)
def test_every_form_with_names_gives_the_right_number_in_any_order(served, form):
    for record in (RECORD, shuffled()):
        status, body = ask(served[0], *NAMED[form](record))
        assert status == 200, body
        assert numbers(body) == [pytest.approx(BY_NAME, abs=2e-6)]


@pytest.mark.parametrize("form", UNNAMED)
def test_every_form_without_names_is_refused(served, form):
    path, body, due = UNNAMED[form]
    status, said = ask(served[0], path, body)
    assert (status, b"alcohol" in said) == (due, True), said


def call(address, path, request, kind):
    with grpc.insecure_channel(address) as channel:
        method = channel.unary_unary(
            path, request_serializer=lambda m: m.SerializeToString(), response_deserializer=kind.FromString
        )
        return method(request, timeout=10)


def test_grpc_of_both_kinds_takes_names_and_nothing_else(served):
    request = INFERENCE.ModelInferRequest(model_name="wine")
    for name, value in shuffled().items():
        request.inputs.add(name=name, datatype="FP64", shape=[1]).contents.fp64_contents.append(value)
    infer = "/inference.GRPCInferenceService/ModelInfer"
    reply = call(served[1], infer, request, INFERENCE.ModelInferResponse)
    assert reply.outputs[0].contents.fp32_contents[0] == pytest.approx(BY_NAME, abs=2e-6)
    unnamed = INFERENCE.ModelInferRequest(model_name="wine")
    unnamed.inputs.add(name="x", datatype="FP64", shape=[1, 11]).contents.fp64_contents.extend(VALUES)
    predict = "/tensorflow.serving.PredictionService/Predict"
    spec = SERVING.ModelSpec(name="wine")
    named = {name: write_tensor(np.array([value]), "float64") for name, value in shuffled().items()}
    reply = call(served[1], predict, SERVING.PredictRequest(model_spec=spec, inputs=named), SERVING.PredictResponse)
    assert reply.outputs["quality"].float_val[0] == pytest.approx(BY_NAME, abs=2e-6)
    matrix = {"x": write_tensor(np.array([VALUES]), "float64")}
    for path, asked, kind in (
        (infer, unnamed, INFERENCE.ModelInferResponse),
        (predict, SERVING.PredictRequest(model_spec=spec, inputs=matrix), SERVING.PredictResponse),
    ):
        with pytest.raises(grpc.RpcError) as refused:
            call(served[1], path, asked, kind)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
