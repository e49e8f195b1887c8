"""BentoML: one worker."""

import os
import sys
from pathlib import Path

import bentoml
import numpy as np
import onnxruntime as ort


@bentoml.service(workers=1, traffic={"timeout": 10}, logging={"access": {"enabled": False}})
class Digits:
    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
        self.output, self.input = self.session.get_outputs()[-1].name, self.session.get_inputs()[0].name

    @bentoml.api
    async def predict(self, instances: list[list[float]]) -> dict[str, list[list[float]]]:
        pixels = np.array(instances, np.float32)
        return {"predictions": self.session.run([self.output], {self.input: pixels})[0].tolist()}


if __name__ == "__main__":
    os.environ["MODEL"] = sys.argv[1]
    command = ["-m", "bentoml", "serve", "peer_bentoml:Digits", "--working-dir", str(Path(__file__).parent)]
    os.execv(sys.executable, [sys.executable, *command, "--host", "127.0.0.1", "--port", sys.argv[2]])  # noqa: S606
