"""MLServer without its worker pool; its settings are written into the folder it is started in.

With the file that COLUMNS names in the environment, each named column is an input of its own.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import peer_columns
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Digits(MLModel):
    async def load(self) -> bool:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
        self.output = self.session.get_outputs()[-1].name
        self.input = self.session.get_inputs()[0].name
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        pixels = np.asarray(NumpyCodec.decode_input(payload.inputs[0]), np.float32)
        values = self.session.run([self.output], {self.input: pixels})[0]
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output(self.output, values)])


class Flights(Digits):
    async def load(self) -> bool:
        self.columns = peer_columns.read()
        return await super().load()

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        sent = {one.name: one.data for one in payload.inputs}
        numbers = [sent[name] for name in self.columns.numbers]
        texts = [sent[name] for name in self.columns.texts]
        batch = {"numbers": np.array(numbers, np.float32).T, "strings": np.array(texts, object).T}
        values = self.session.run([self.output], batch)[0]
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output(self.output, values)])


if __name__ == "__main__":
    model, port = sys.argv[1], int(sys.argv[2])
    os.environ["MODEL"] = model
    folder = Path.cwd()
    settings = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": port + 1,
        "metrics_port": port + 2,
        "parallel_workers": 0,
        "debug": False,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    implementation = "Flights" if "COLUMNS" in os.environ else "Digits"
    served = {"name": implementation.lower(), "implementation": f"peer_mlserver.{implementation}"}
    (folder / "model-settings.json").write_text(json.dumps(served))
    from mlserver.cli import main

    sys.argv = ["mlserver", "start", str(folder)]
    main()
