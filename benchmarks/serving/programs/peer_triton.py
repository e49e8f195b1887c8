"""A real Triton through pytriton, which binds Python callables to it."""

import sys
from typing import Any

import numpy as np
import onnxruntime as ort
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
taken, given = session.get_inputs()[0], session.get_outputs()[-1]
width = taken.shape[1]
classes = session.run([given.name], {taken.name: np.zeros((1, width), np.float32)})[0].shape[1]


@batch
def score(**tensors: Any) -> Any:
    return [session.run([given.name], {taken.name: tensors[taken.name]})[0]]


if __name__ == "__main__":
    port = int(sys.argv[2])
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=port,
        grpc_address="127.0.0.1",
        grpc_port=port + 1,
        metrics_address="127.0.0.1",
        metrics_port=port + 2,
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="digits",
            infer_func=score,
            inputs=[Tensor(name=taken.name, dtype=np.float32, shape=(width,))],
            outputs=[Tensor(name=given.name, dtype=np.float32, shape=(classes,))],
            config=ModelConfig(max_batch_size=256, batching=True),
        )
        triton.serve()
