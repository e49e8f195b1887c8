"""KServe's model server with its own protocol, one worker.

``python peer_kserve.py MODEL PORT [logs]``: with ``logs`` it writes lines for each request, as it does unasked.
"""

import logging
import sys
from typing import Any

import numpy as np
import onnxruntime as ort
import uvicorn

path, port = sys.argv[1], int(sys.argv[2])
quiet = sys.argv[3:] != ["logs"]
sys.argv[1:] = ["--enable_grpc", "false", *(["--enable_latency_logging", "false"] if quiet else [])]
from kserve import Model, ModelServer  # noqa: E402 - it reads the command line when imported

options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
output, taken = session.get_outputs()[-1].name, session.get_inputs()[0].name


class Digits(Model):
    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:  # noqa: ARG002
        pixels = np.array(payload["instances"], np.float32)
        return {"predictions": session.run([output], {taken: pixels})[0].tolist()}


config = uvicorn.Config
uvicorn.Config = lambda *args, **named: config(*args, **{**named, "host": "127.0.0.1"})  # it has no option for that

model = Digits("digits")
model.ready = True
server = ModelServer(http_port=port, workers=1)
if quiet:
    for name in ("uvicorn.access", "kserve.trace"):
        logging.getLogger(name).setLevel(logging.WARNING)
server.start([model])
