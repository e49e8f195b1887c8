"""gRPC side by side: the gateway and a bare service, asked the same by the same client."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
from benchmarks.serving import load
from benchmarks.serving.load import Run
from benchmarks.serving.measure import Effort, Measured, Server, alike, interleaved
from benchmarks.serving.models import Served
from benchmarks.serving.processes import Process, free_ports
from benchmarks.serving.subjects import Subject

from headrace.gateway.rpc.messages import INFERENCE

_METHOD = "/inference.GRPCInferenceService/ModelInfer"


def message(row: Sequence[float], name: str) -> bytes:
    """A ``ModelInferRequest`` for one row of the digits."""
    request = INFERENCE.ModelInferRequest(model_name="digits")
    tensor = request.inputs.add(name=name, datatype="FP32", shape=[1, len(row)])
    tensor.contents.fp32_contents.extend(row)
    bytes_: bytes = request.SerializeToString()
    return bytes_


def measured(subjects: Sequence[Subject], served: Served, folder: Path, effort: Effort) -> dict[str, Measured]:
    """Both loaded in turns, once each has answered every row as ONNX Runtime does."""
    found = {subject.name: Measured() for subject in subjects}
    asked = folder / "infer.bin"
    asked.write_bytes(message(served.rows[0], served.taken))
    with ExitStack() as stack:
        servers = [_started(stack, subject, served, folder) for subject in subjects]

        def run(server: Any, connections: int, seconds: int) -> Run:
            before = server.process.cpu_s()
            taken = load.rpc(f"127.0.0.1:{server.port}", asked, connections=connections, seconds=seconds)
            return replace(taken, cpu_us=(server.process.cpu_s() - before) / max(taken.requests, 1) * 1e6)

        interleaved(servers, found, effort, run)
    return found


def _started(stack: ExitStack, subject: Subject, served: Served, folder: Path) -> Server:
    port = free_ports(1)
    command, environment = subject.started_with(port)
    process = Process(command, folder / f"{subject.name.replace(' ', '-')}-{port}", environment)
    stack.callback(process.stop)
    channel = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}"))
    start_s = process.wait(lambda: _right(channel, served, 0), subject.start_limit_s)
    for number in range(len(served.rows)):
        if not _right(channel, served, number):
            raise RuntimeError(f"{subject.name} answers row {number} otherwise than ONNX Runtime")
    return Server(subject, process, port, start_s)


def _right(channel: Any, served: Served, number: int) -> bool:
    call = channel.unary_unary(_METHOD, response_deserializer=INFERENCE.ModelInferResponse.FromString)
    try:
        reply = call(message(served.rows[number], served.taken), timeout=5)
    except grpc.RpcError:
        return False
    return alike(list(reply.outputs[0].contents.fp32_contents), served.answers[number])
