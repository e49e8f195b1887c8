"""TensorFlow Serving's gRPC services."""

import grpc
import numpy as np
import pytest
from rpc_served import rpc_channel
from served import ROW, WINE, constant, endpoint, gated, linear, model
from tensor_served import DATATYPES, PAIR, PIXELS, echo, echoed, renamed, sums, tensors_gated

from headrace.gateway.rpc.tfs_messages import SERVING
from headrace.gateway.rpc.tfs_tensors import read_tensor, write_tensor
from headrace.models.tensors import NUMPY
from headrace.serving.split import Split

X = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
REPLIES = {"Classification": "Classify", "Regression": "Regress"}


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    served = {"pixels": (PIXELS, sums), "pair": (PAIR, renamed), "wine": (WINE, linear)}
    served |= {dtype: (echo(dtype), echoed) for dtype in DATATYPES}
    served["half_plus_two"] = (echo("float32", (-1,)), lambda batch: {"y": batch["x"] / 2 + 2})
    served["column"] = (echo("float32", (-1, 1)), lambda batch: {"y": batch["x"] * 2})
    with tensors_gated(tmp_path_factory.mktemp("stream"), served) as found:
        yield found


@pytest.fixture(scope="module")
def call(gate):
    with rpc_channel(gate) as channel:

        def ask(kind, *, service="PredictionService", **fields):
            method = channel.unary_unary(
                f"/tensorflow.serving.{service}/{REPLIES.get(kind, kind)}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=getattr(SERVING, f"{kind}Response").FromString,
            )
            return method(getattr(SERVING, f"{kind}Request")(**fields), timeout=10)

        yield ask


def spec(name, **more):
    return SERVING.ModelSpec(name=name, **more)


def content(array):
    found = write_tensor(array, "float32")
    del found.float_val[:]
    found.tensor_content = array.tobytes()
    return found


@pytest.mark.parametrize("tensor", [write_tensor(X, "float32"), content(X)], ids=["values", "content"])
def test_predict_takes_values_and_content(call, tensor):
    reply = call("Predict", model_spec=spec("pixels"), inputs={"pixels": tensor})
    assert {n: list(t.float_val) for n, t in reply.outputs.items()} == {
        "sum": [15.0, 51.0],
        "double": (X * 2).ravel().tolist(),
    }
    assert (reply.model_spec.name, reply.model_spec.version.value) == ("pixels", 1)
    only = call("Predict", model_spec=spec("pixels"), inputs={"pixels": tensor}, output_filter=["sum"])
    assert list(only.outputs) == ["sum"]


def test_half_plus_two(call):
    tensor = write_tensor(np.array([1.0, 2.0, 5.0]), "float32")
    version = SERVING.Int64Value(value=1)
    reply = call("Predict", model_spec=spec("half_plus_two", version=version), inputs={"x": tensor})
    assert list(reply.outputs["y"].float_val) == [2.5, 3.0, 4.5]


@pytest.mark.parametrize("rows", [[1.0, 2.0], [[1.0], [2.0]]])
def test_rows_of_one_value_are_told_as_they_were_asked(call, rows):
    for tensor in (write_tensor(np.array(rows), "float32"), content(np.array(rows, np.float32))):
        reply = call("Predict", model_spec=spec("column"), inputs={"x": tensor})
        _, found = read_tensor("y", reply.outputs["y"])
        np.testing.assert_array_equal(found, np.array(rows) * 2, strict=False)
        assert found.shape == np.shape(rows)


def test_one_value_fills_its_shape_within_a_limit(call):
    tensor = SERVING.TensorProto(dtype=1, float_val=[3.0])
    tensor.tensor_shape.dim.add(size=4)
    reply = call("Predict", model_spec=spec("half_plus_two"), inputs={"x": tensor})
    assert list(reply.outputs["y"].float_val) == [3.5] * 4
    tensor.tensor_shape.dim[0].size = 2**50
    with pytest.raises(grpc.RpcError) as caught:
        call("Predict", model_spec=spec("half_plus_two"), inputs={"x": tensor})
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("dtype", DATATYPES)
def test_every_type_goes_there_and_back(call, dtype):
    array = np.array([["a", "ü"]], object) if dtype == "string" else np.array([[0, 1]], NUMPY[dtype])
    reply = call("Predict", model_spec=spec(dtype), inputs={"x": write_tensor(array, dtype)})
    _, found = read_tensor("y", reply.outputs["y"])
    due = [[b"a", "ü".encode()]] if dtype == "string" else array.tolist()
    assert (found.dtype, found.tolist()) == (array.dtype, due)


def test_a_table_takes_one_tensor_a_column(call):
    dtypes = {column.name: column.dtype for column in WINE.columns}
    inputs = {name: write_tensor(np.array([ROW[name]]), dtypes[name]) for name in reversed(ROW)}
    reply = call("Predict", model_spec=spec("wine"), inputs=inputs)
    assert list(reply.outputs["quality"].float_val) == [147.5]


def examples(*values, context=()):
    def example(features):
        found = SERVING.Example()
        for name, value in features.items():
            found.features.feature[name].float_list.value.append(value)
        return found

    rows = [example({"x": value}) for value in values]
    if context:
        shared = SERVING.ExampleListWithContext(examples=rows, context=example(dict(context)))
        return SERVING.Input(example_list_with_context=shared)
    return SERVING.Input(example_list=SERVING.ExampleList(examples=rows))


def test_classify_and_regress(call):
    reply = call("Regression", model_spec=spec("half_plus_two"), input=examples(1.0, 5.0))
    assert [r.value for r in reply.result.regressions] == [2.5, 4.5]
    reply = call("Classification", model_spec=spec("half_plus_two"), input=examples(1.0))
    assert [(c.label, c.score) for c in reply.result.classifications[0].classes] == [("y", 2.5)]


CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def tasks(*asked):
    return [SERVING.InferenceTask(model_spec=spec(name), method_name=method) for name, method in asked]


def test_several_tasks_of_one_input(call):
    asked = tasks(("half_plus_two", REGRESS), ("half_plus_two", CLASSIFY))
    first, second = call("MultiInference", tasks=asked, input=examples(1.0, 5.0)).results
    assert [r.value for r in first.regression_result.regressions] == [2.5, 4.5]
    found = second.classification_result.classifications
    assert [[(c.label, c.score) for c in row.classes] for row in found] == [[("y", 2.5)], [("y", 4.5)]]
    assert (second.model_spec.name, second.model_spec.version.value) == ("half_plus_two", 1)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ((), "same model name"),
        ((("half_plus_two", REGRESS), ("column", REGRESS)), "same model name"),
        ((("half_plus_two", "tensorflow/serving/predict"),), "method_name: tensorflow/serving/predict"),
        (
            (("half_plus_two", REGRESS), ("half_plus_two", REGRESS)),
            "Duplicate evaluation of signature: serving_default",
        ),
    ],
)
def test_tasks_that_do_not_go_together_are_refused(call, asked, said):
    with pytest.raises(grpc.RpcError, match=said) as caught:
        call("MultiInference", tasks=tasks(*asked), input=examples(1.0))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_metadata_packs_the_signature(call):
    reply = call("GetModelMetadata", model_spec=spec("pixels"), metadata_field=["signature_def"])
    packed = reply.metadata["signature_def"]
    assert packed.type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    signature = SERVING.SignatureDefMap.FromString(packed.value).signature_def["serving_default"]
    assert [d.size for d in signature.inputs["pixels"].tensor_shape.dim] == [-1, 2, 3]
    assert (signature.inputs["pixels"].dtype, sorted(signature.outputs)) == (1, ["double", "sum"])


def test_status(call):
    reply = call("GetModelStatus", service="ModelService", model_spec=spec("pixels"))
    assert [(s.version, s.state, s.status.error_code) for s in reply.model_version_status] == [(1, 30, 0)]


FAULTS = {
    "another name": ({"model_spec": spec("nobody")}, "NOT_FOUND"),
    "another version": ({"model_spec": spec("pixels", version=SERVING.Int64Value(value=9))}, "NOT_FOUND"),
    "a label": ({"model_spec": spec("pixels", version_label="best")}, "INVALID_ARGUMENT"),
    "a signature": ({"model_spec": spec("pixels", signature_name="other")}, "FAILED_PRECONDITION"),
    "no inputs": ({"inputs": {}}, "INVALID_ARGUMENT"),
    "another input": ({"inputs": {"x": write_tensor(X, "float32")}}, "INVALID_ARGUMENT"),
    "another type": ({"inputs": {"pixels": write_tensor(X, "float64")}}, "INVALID_ARGUMENT"),
    "no type": ({"inputs": {"pixels": SERVING.TensorProto(dtype=8)}}, "INVALID_ARGUMENT"),
    "another output": ({"output_filter": ["x"]}, "INVALID_ARGUMENT"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_does_not_fit_is_refused_with_a_code(call, name):
    change, code = FAULTS[name]
    with pytest.raises(grpc.RpcError) as caught:
        call("Predict", **({"model_spec": spec("pixels"), "inputs": {"pixels": write_tensor(X, "float32")}} | change))
    assert (caught.value.code().name, bool(caught.value.details())) == (code, True)


def test_metadata_of_another_kind_is_refused(call):
    with pytest.raises(grpc.RpcError) as caught:
        call("GetModelMetadata", model_spec=spec("pixels"), metadata_field=["other"])
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_metadata_keeps_a_caller_with_the_same_model(tmp_path):
    models = {f"{name}@1": model(f"{name}@1", constant(value), fast=True) for name, value in (("a", 1.0), ("b", 2.0))}
    deployed = endpoint(("a@1", 0.02), ("b@1", 0.02), split=Split({"b@1": 0.5}, key="x-customer"))
    dtypes = {column.name: column.dtype for column in WINE.columns}
    columns = {name: write_tensor(np.array([value], NUMPY[dtypes[name]]), dtypes[name]) for name, value in ROW.items()}
    request = SERVING.PredictRequest(model_spec=spec("wine"), inputs=columns)
    with gated(tmp_path, deployed, models) as gate, rpc_channel(gate) as channel:
        method = channel.unary_unary(
            "/tensorflow.serving.PredictionService/Predict",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=SERVING.PredictResponse.FromString,
        )
        won = [
            {method(request, timeout=10, metadata=(("x-customer", str(key)),)).outputs["quality"].float_val[0]
             for _ in range(3)}
            for key in range(20)
        ]  # fmt: skip
    assert {len(values) for values in won} == {1}
    assert set.union(*won) == {1.0, 2.0}
