"""LitServe: one API process and one worker, over its fast queue."""

import sys
from typing import Any

import litserve
import numpy as np
import onnxruntime as ort


class Digits(litserve.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002 - its signature
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
        self.output, self.input = self.session.get_outputs()[-1].name, self.session.get_inputs()[0].name

    def decode_request(self, request):  # noqa: ANN001, ANN201 - a type would be read as a form of request
        return np.array(request["instances"], np.float32)

    def predict(self, x: Any) -> Any:
        return self.session.run([self.output], {self.input: x})[0]

    def encode_response(self, output: Any) -> Any:
        return {"predictions": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Digits(), accelerator="cpu", workers_per_device=1, fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[2]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
