"""TensorFlow Serving's own Python stubs, unmodified: against models of its own tests.

Arguments: address of gRPC, address of gRPC's control port, and its token.
"""

import sys

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.wrappers_pb2 import Int64Value
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)
from tensorflow_serving.config import file_system_storage_path_source_pb2 as source_pb2

channel = grpc.insecure_channel(sys.argv[1])
prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
models = model_service_pb2_grpc.ModelServiceStub(channel)


def spec(request, name, version=None, signature=""):
    request.model_spec.name, request.model_spec.signature_name = name, signature
    if version is not None:
        request.model_spec.version.CopyFrom(Int64Value(value=version))
    return request


def predicted(name, x, **more):
    request = spec(predict_pb2.PredictRequest(), name, **more)
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(x, dtype=tf.float32))
    reply = prediction.Predict(request, 10)
    return tf.make_ndarray(reply.outputs["y"]), reply.model_spec


for name in ("half_plus_two", "one_version", "tf2"):
    found, answered = predicted(name, [1.0, 2.0, 5.0])
    assert found.tolist() == [2.5, 3.0, 4.5], (name, found)
    assert (found.dtype, answered.name, answered.signature_name) == (np.float32, name, "serving_default")
assert predicted("half_plus_two", [[1.0], [2.0], [5.0]])[0].tolist() == [[2.5], [3.0], [4.5]]
assert predicted("half_plus_three", [1.0, 2.0, 5.0])[0].tolist() == [3.5, 4.0, 5.5]
for version in (123, 124):
    found, answered = predicted("half_plus_two", [1.0, 2.0, 5.0], version=version, signature="serving_default")
    assert (found.tolist(), answered.version.value) == ([2.5, 3.0, 4.5], version)


def examples(request):
    for value in (1.0, 2.0, 5.0):
        features = {"x": tf.train.Feature(float_list=tf.train.FloatList(value=[value]))}
        request.input.example_list.examples.append(tf.train.Example(features=tf.train.Features(feature=features)))
    return request


for name in ("half_plus_two", "tf2"):
    reply = prediction.Regress(examples(spec(regression_pb2.RegressionRequest(), name)), 10)
    assert [row.value for row in reply.result.regressions] == [2.5, 3.0, 4.5], name
    reply = prediction.Classify(examples(spec(classification_pb2.ClassificationRequest(), name)), 10)
    rows = [[one.score for one in row.classes] for row in reply.result.classifications]
    assert rows == [[2.5], [3.0], [4.5]], (name, rows)

request = examples(inference_pb2.MultiInferenceRequest())
for method in ("classify", "regress"):
    spec(request.tasks.add(method_name=f"tensorflow/serving/{method}"), "tf2")
classified, regressed = prediction.MultiInference(request, 10).results
assert [row.value for row in regressed.regression_result.regressions] == [2.5, 3.0, 4.5]
assert len(classified.classification_result.classifications) == 3

for name in ("half_plus_two", "one_version", "tf2"):
    for signature, due in (("regress_x_to_y", [2.5, 3.0, 4.5]), ("regress_x_to_y2", [3.5, 4.0, 5.5])):
        asked = examples(spec(regression_pb2.RegressionRequest(), name, signature=signature))
        reply = prediction.Regress(asked, 10)
        assert [row.value for row in reply.result.regressions] == due, (name, signature)
        assert reply.model_spec.signature_name == signature
        serialised = [example.SerializeToString() for example in asked.input.example_list.examples]
        request = spec(predict_pb2.PredictRequest(), name, signature=signature)
        request.inputs["inputs"].CopyFrom(tf.make_tensor_proto(serialised, dtype=tf.string))
        assert tf.make_ndarray(prediction.Predict(request, 10).outputs["outputs"]).ravel().tolist() == due
    asked = examples(spec(classification_pb2.ClassificationRequest(), name, signature="classify_x_to_y"))
    rows = prediction.Classify(asked, 10).result.classifications
    assert [[(one.label, one.score) for one in row.classes] for row in rows] == [[("", y)] for y in (2.5, 3.0, 4.5)]
    request = spec(predict_pb2.PredictRequest(), name, signature="nothing")
    assert prediction.Predict.future(request, 10).exception().code() == grpc.StatusCode.FAILED_PRECONDITION

request = spec(get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"]), "half_plus_two")
packed = prediction.GetModelMetadata(request, 10)
signatures = get_model_metadata_pb2.SignatureDefMap()
assert packed.metadata["signature_def"].Unpack(signatures)
methods = {key: known.method_name for key, known in signatures.signature_def.items()}
assert methods["classify_x_to_y"] == "tensorflow/serving/classify", methods
assert methods["regress_x_to_y2"] == "tensorflow/serving/regress", methods
assert len(methods) == 6, methods
declared = signatures.signature_def["serving_default"]
assert tf.dtypes.as_dtype(declared.inputs["x"].dtype) == tf.float32
assert [dim.size for dim in declared.inputs["x"].tensor_shape.dim] == [-1, 1]
assert packed.model_spec.version.value == 124

reply = models.GetModelStatus(spec(get_model_status_pb2.GetModelStatusRequest(), "one_version"), 10)
states = get_model_status_pb2.ModelVersionStatus.State
assert [(row.version, states.Name(row.state)) for row in reply.model_version_status] == [(123, "AVAILABLE")]

for request in (spec(predict_pb2.PredictRequest(), "nobody"), spec(predict_pb2.PredictRequest(), "tf2", version=9)):
    assert prediction.Predict.future(request, 10).exception().code() == grpc.StatusCode.NOT_FOUND

control = model_service_pb2_grpc.ModelServiceStub(grpc.insecure_channel(sys.argv[2]))
TOKEN = (("authorization", f"Bearer {sys.argv[3]}"),)


def reload(policy, labels, metadata=TOKEN):
    """Load these versions of one model, and of the others the newest."""
    request = model_management_pb2.ReloadConfigRequest()
    for name in ("half_plus_two", "one_version", "tf2", "half_plus_three"):
        request.config.model_config_list.config.add(name=name, model_platform="tensorflow")
    first = request.config.model_config_list.config[0]
    first.model_version_policy.CopyFrom(policy)
    first.version_labels.update(labels)
    return control.HandleReloadConfigRequest.future(request, 60, metadata=metadata)


def loaded():
    reply = models.GetModelStatus(spec(get_model_status_pb2.GetModelStatusRequest(), "half_plus_two"), 10)
    return {row.version for row in reply.model_version_status if row.state == states.AVAILABLE}


Policy = source_pb2.FileSystemStoragePathSourceConfig.ServableVersionPolicy
only, every = Policy(specific=Policy.Specific(versions=[123])), Policy(all=Policy.All())
assert reload(only, {}, metadata=()).exception().code() == grpc.StatusCode.UNAUTHENTICATED
assert loaded() == {123, 124}
assert reload(only, {"stable": 123}).result().status.error_code == 0
assert loaded() == {123}
request = spec(predict_pb2.PredictRequest(), "half_plus_two")
request.model_spec.version_label = "stable"
request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0], dtype=tf.float32))
assert tf.make_ndarray(prediction.Predict(request, 10).outputs["y"]).tolist() == [2.5]
assert reload(every, {}).result().status.error_code == 0
assert loaded() == {123, 124}
