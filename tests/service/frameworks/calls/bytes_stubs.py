"""TensorFlow Serving's own Python stubs, unmodified: image files as they are.

Arguments: address of gRPC, the endpoint, and image files.
"""

import sys
from pathlib import Path

import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

files = [Path(name).read_bytes() for name in sys.argv[3:]]
prediction = prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(sys.argv[1]))
request = predict_pb2.PredictRequest()
request.model_spec.name = sys.argv[2]
request.inputs["image"].CopyFrom(tf.make_tensor_proto(files, dtype=tf.string))
outputs = prediction.Predict(request, 10).outputs
again = tf.make_ndarray(outputs["again_bytes"])
assert again.dtype == object
for one, sent in zip(again.tolist(), files, strict=True):
    assert tf.reduce_all(tf.io.decode_png(one) == tf.io.decode_png(sent))
assert outputs["light"].dtype == tf.float32.as_datatype_enum
