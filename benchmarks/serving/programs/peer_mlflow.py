"""MLflow's scoring server with its ONNX flavour, one worker."""

import os
import sys
from pathlib import Path

import mlflow.onnx
import onnx

if __name__ == "__main__":
    folder = Path.cwd() / "model"
    one = {"intra_op_num_threads": 1, "inter_op_num_threads": 1, "execution_mode": "sequential"}
    mlflow.onnx.save_model(onnx.load(sys.argv[1]), str(folder), onnx_session_options=one, pip_requirements=["onnx"])
    command = ["-m", "mlflow", "models", "serve", "-m", str(folder), "-h", "127.0.0.1", "-p", sys.argv[2]]
    os.execv(sys.executable, [sys.executable, *command, "--env-manager", "local", "--workers", "1"])  # noqa: S606
