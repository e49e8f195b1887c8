"""What micro-batching is worth: many clients of one model that waits 2 ms a call, in its worker process.

``python -m benchmarks.serving_batching`` prints the row and writes ``benchmarks/out/serving_batching.json``. The server
and the clients share the machine; compare on an idle one.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import polars as pl
import uvloop
from benchmarks.figures import Figure, told
from benchmarks.sleeping_model import CALL_S, slept

from headrace.assembly import open_platform
from headrace.client import Client
from headrace.delivery.deploy import deploy
from headrace.journey.platform import Platform
from headrace.models.registry import Registration, register
from headrace.placement.gateway import GATEWAY, gateway_spec
from headrace.sdk.functions import serve_function
from headrace.serving.endpoint import Batching, Endpoint, Preference
from headrace.settings import load_settings

CLIENTS = 128
SECONDS = 5.0
_ROWS = {"single": 1, "batched": 256}
_BODY = b'{"instances":[{"x":1.5}]}'


class _Asker(asyncio.Protocol):
    """One client: it sends the next request when the reply to the last one is whole."""

    def __init__(self, request: bytes, done: list[int]) -> None:
        self._request, self._done = request, done
        self._transport: asyncio.Transport | None = None
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            return
        self._data = b""
        self._done[int(head[9:12] == b"200" and b"[3.0]" in body)] += 1
        assert self._transport is not None
        self._transport.write(self._request)


async def _asked(address: str, endpoint: str, clients: int, seconds: float) -> float:
    parts, done = urlsplit(address), [0, 0]
    line = f"POST /v1/models/{endpoint}:predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(_BODY)}\r\n\r\n"
    loop = asyncio.get_running_loop()
    request = line.encode() + _BODY
    made = [
        await loop.create_connection(lambda: _Asker(request, done), parts.hostname, parts.port) for _ in range(clients)
    ]
    await asyncio.sleep(seconds / 4)
    before, begun = done[1], time.perf_counter()
    await asyncio.sleep(seconds)
    per_s = (done[1] - before) / (time.perf_counter() - begun)
    for transport, _ in made:
        transport.abort()
    if done[0]:
        raise SystemExit(f"{endpoint}: {done[0]} requests were not answered by the model")
    return per_s


def throughput(address: str, endpoint: str, clients: int, seconds: float) -> float:
    """Requests a second that the model answers; each of ``clients`` has one under way at any time."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_asked(address, endpoint, clients, seconds))


def _served(platform: Platform, name: str, batching: Batching) -> None:
    version = register(
        platform.stores(),
        serve_function(slept, outputs=("y",)),
        Registration(name=name, example=pl.DataFrame({"x": [1.5]}), licence="CC0-1.0"),
    )
    schedule = (Preference(str(version), 20.0),)
    deploy(platform.ledger(), Endpoint(name, schedule, 20.0, {"y": -1.0}, log="off", batching=batching), who="bench")


def gain(root: Path, clients: int = CLIENTS, seconds: float = SECONDS) -> dict[str, float]:
    """Throughput with batches and with one row a call, of the same model on the same server.

    Args:
        root: An empty folder for the project.
        clients: How many ask at once.
        seconds: For how long each is measured.

    Returns:
        ``batched`` and ``single`` in requests a second, and their ``ratio``.
    """
    (root / "headrace.toml").write_text("")
    platform = open_platform(load_settings(root))
    services = platform.services()
    try:
        for name, rows in _ROWS.items():
            _served(platform, name, Batching(max_batch_rows=rows, max_queue_rows=1024))
        state = services.start(gateway_spec(root, list(_ROWS), restart=False))
        client = Client(state.address)
        client.wait_ready()
        client.close()
        found = {name: throughput(state.address, name, clients, seconds) for name in _ROWS}
    finally:
        services.stop(GATEWAY)
        platform.close()
    return {**found, "ratio": found["batched"] / found["single"]}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = gain(Path(folder).resolve())
    beside = {name: round(found[name], 1) for name in _ROWS} | {"most_single": 1 / CALL_S}
    told([Figure("serving.batching_gain", found["ratio"], "ratio", beside)], "serving_batching")


if __name__ == "__main__":
    main()
