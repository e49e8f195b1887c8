"""KServe's model server with its own protocol, one worker.

``python peer_kserve.py MODEL PORT [logs]``: with ``logs`` it writes lines for each request, as it does unasked. With
the file that COLUMNS names in the environment, rows are objects of named columns.
"""

import logging
import sys
from typing import Any

import numpy as np
import onnxruntime as ort
import peer_columns
import uvicorn

path, port = sys.argv[1], int(sys.argv[2])
quiet = sys.argv[3:] != ["logs"]
sys.argv[1:] = ["--enable_grpc", "false", *(["--enable_latency_logging", "false"] if quiet else [])]
from kserve import Model, ModelServer  # noqa: E402 - it reads the command line when imported

options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
output, taken = session.get_outputs()[-1].name, session.get_inputs()[0].name


columns = peer_columns.read()


class Digits(Model):
    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:  # noqa: ARG002
        pixels = np.array(payload["instances"], np.float32)
        return {"predictions": session.run([output], {taken: pixels})[0].tolist()}


class Flights(Model):
    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:  # noqa: ARG002
        rows = payload["instances"]
        numbers = [[row[name] for name in columns.numbers] for row in rows]
        texts = [[row[name] for name in columns.texts] for row in rows]
        batch = {"numbers": np.array(numbers, np.float32), "strings": np.array(texts, object)}
        return {"predictions": session.run([output], batch)[0].ravel().tolist()}


config = uvicorn.Config
uvicorn.Config = lambda *args, **named: config(*args, **{**named, "host": "127.0.0.1"})  # it has no option for that

model = Flights("flights") if columns else Digits("digits")
model.ready = True
server = ModelServer(http_port=port, workers=1)
if quiet:
    for name in ("uvicorn.access", "kserve.trace"):
        logging.getLogger(name).setLevel(logging.WARNING)
server.start([model])
