"""What is measured: headrace, the floors and the peers, each as a command, a request and how its answer is read."""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.environments import python_of
from benchmarks.serving.models import Served

PROGRAMS = Path(__file__).parent / "programs"
PACKAGES = {
    "floor": ["uvicorn", "uvloop", "httptools", "msgspec", "numpy", "onnxruntime", "granian"],
    "mlserver": ["mlserver", "uvloop<0.22", "onnxruntime"],  # it does not start with a newer uvloop
    "kserve": ["kserve", "onnxruntime"],
    "litserve": ["litserve", "onnxruntime"],
    "mlflow": ["mlflow==3.17.*", "onnx", "onnxruntime"],
    "bentoml": ["bentoml", "onnxruntime"],
    "ray": ["ray[serve]", "onnxruntime"],
    "triton": ["nvidia-pytriton", "onnxruntime"],
}
PYTHONS = {"triton": "/usr/bin/python3.11"}
"""Triton's wheel is linked against Debian's own interpreter."""

_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(PROGRAMS),
    "PYTHONDONTWRITEBYTECODE": "",
    "DO_NOT_TRACK": "1",
    "BENTOML_DO_NOT_TRACK": "True",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
}

Body = Callable[[Any], Any]
Read = Callable[[Any], Sequence[float]]


@dataclass(frozen=True)
class Subject:
    """One server.

    Attributes:
        name: In tables.
        command: Starts it; ``{port}`` stands for its first port.
        path: Where requests go; empty for those that are asked over gRPC.
        body: Request of one row, as JSON values.
        read: The row's answer out of the reply's JSON values.
        start_limit_s: By when it must answer.
    """

    name: str
    command: Sequence[str]
    path: str
    body: Body
    read: Read
    start_limit_s: float = 60.0
    environment: Mapping[str, str] = field(default_factory=dict)

    def started_with(self, port: int) -> tuple[list[str], dict[str, str]]:
        """The command line and the environment for a port."""
        return [part.replace("{port}", str(port)) for part in self.command], {**_ENVIRONMENT, **self.environment}

    def request(self, row: Any) -> bytes:
        """The bytes that ask for one row."""
        return json.dumps(self.body(row)).encode()


def headrace(root: Path, endpoint: str, name: str, *, rpc: bool = False) -> Subject:
    """A gateway process with one endpoint, asked over HTTP, or over gRPC with ``rpc``."""
    command = [sys.executable, "-m", "headrace.gateway", "--root", str(root), "--endpoint", endpoint]
    if rpc:
        return Subject(name, [*command, "--port", "0", "--grpc-port", "{port}"], "", _instances, _predictions)
    path = f"/v1/models/{endpoint}:predict"
    return Subject(name, [*command, "--port", "{port}"], path, _instances, _predictions)


def floors(served: Served, columns: Path | None = None) -> list[Subject]:
    """The same work with next to nothing around it, on two HTTP servers."""
    more = [] if columns is None else [str(columns)]
    return [
        Subject(
            f"floor {server}",
            [str(python_of("floor")), str(PROGRAMS / program), str(served.path), "{port}", *more],
            "/predict",
            _instances,
            _predictions,
        )
        for server, program in (("uvicorn", "floor_asgi.py"), ("granian", "floor_rsgi.py"))
    ]


def peers(served: Served) -> list[Subject]:
    """Other projects' servers, run as their documentation says is fastest in one process, with the digits.

    ``kserve`` is told to write no line a request, ``kserve logs`` is KServe as it comes.
    """
    width = len(served.rows[0])

    def tensor(row: Any) -> Any:
        return {"inputs": [{"name": "X", "shape": [1, width], "datatype": "FP32", "data": row}]}

    known: dict[str, tuple[str, Body, Read]] = {
        "mlserver": ("/v2/models/digits/infer", tensor, _outputs),
        "kserve": ("/v1/models/digits:predict", _instances, _predictions),
        "kserve logs": ("/v1/models/digits:predict", _instances, _predictions),
        "litserve": ("/predict", _instances, _predictions),
        "mlflow": ("/invocations", lambda row: {"inputs": [row]}, _named_predictions),
        "bentoml": ("/predict", _instances, _predictions),
        "ray": ("/predict", _instances, _predictions),
        "triton": ("/v2/models/digits/infer", tensor, _outputs),
    }
    return [_peer(name, served, *how) for name, how in known.items()]


def peers_with_columns(served: Served, columns: Path) -> list[Subject]:
    """Those that were fastest with the digits, with named columns.

    Args:
        served: The model.
        columns: File that says which columns it takes.
    """
    kinds = served.columns or {}

    def inputs(row: Any) -> Any:
        types = {"number": "FP32", "text": "BYTES"}
        return {"inputs": [{"name": n, "shape": [1], "datatype": types[kinds[n]], "data": [v]} for n, v in row.items()]}

    kserve: tuple[str, Body, Read] = ("/v1/models/flights:predict", _instances, _predictions)
    known = {"mlserver": ("/v2/models/flights/infer", inputs, _outputs), "kserve": kserve, "kserve logs": kserve}
    return [_peer(name, served, *how, columns) for name, how in known.items()]


def _peer(name: str, served: Served, path: str, body: Body, read: Read, columns: Path | None = None) -> Subject:
    own, *options = name.split()
    python = python_of(own)
    command = [str(python), str(PROGRAMS / f"peer_{own}.py"), str(served.path), "{port}", *options]
    environment = {"MODEL": str(served.path), "PATH": f"{python.parent}:{os.environ['PATH']}"}
    if columns is not None:
        environment["COLUMNS"] = str(columns)
    return Subject(name, command, path, body, read, environment=environment)


def rpc_floor(served: Served) -> Subject:
    """A bare gRPC service, in our own environment: the same gRPC, messages and session."""
    command = [sys.executable, str(PROGRAMS / "floor_rpc.py"), str(served.path), "{port}"]
    return Subject("floor grpc.aio", command, "", _instances, _predictions)


def _instances(row: Any) -> Any:
    return {"instances": [row]}


def _predictions(reply: Any) -> Sequence[float]:
    value = reply["predictions"][0]
    return value if isinstance(value, list) else [value]


def _named_predictions(reply: Any) -> Sequence[float]:
    found = reply["predictions"]
    return found["probabilities"][0] if isinstance(found, dict) else _predictions(reply)


def _outputs(reply: Any) -> Sequence[float]:
    data = reply["outputs"][0]["data"]
    return data[0] if isinstance(data[0], list) else data
