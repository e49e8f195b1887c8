"""Ray Serve: one replica behind its proxy."""

import sys
import time
from typing import Any

import numpy as np
import onnxruntime as ort
import ray
from ray import serve


@serve.deployment(num_replicas=1, max_ongoing_requests=256, ray_actor_options={"num_cpus": 1})
class Digits:
    def __init__(self, path: str) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.output, self.input = self.session.get_outputs()[-1].name, self.session.get_inputs()[0].name

    async def __call__(self, request: Any) -> Any:
        pixels = np.array((await request.json())["instances"], np.float32)
        return {"predictions": self.session.run([self.output], {self.input: pixels})[0].tolist()}


if __name__ == "__main__":
    ray.init(
        num_cpus=2,
        object_store_memory=80 * 2**20,
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
    )
    where = {"host": "127.0.0.1", "port": int(sys.argv[2])}
    serve.start(http_options=where, logging_config={"enable_access_log": False})
    serve.run(Digits.bind(sys.argv[1]), route_prefix="/predict")
    while True:
        time.sleep(3600)
