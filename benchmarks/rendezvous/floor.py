"""The least that scores with three sessions and replies once the request is durable: ``python floor.py MODELS PORT``.

One event loop, three inline sessions, one thread that commits what came meanwhile; the reply follows the commit.
"""

import asyncio
import queue
import sqlite3
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Annotated, Any

import httptools
import msgspec
import numpy as np
import onnxruntime as ort
import uvloop


def _session(path: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


class _Log:
    """Records go in batches, whatever came while the last was written."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        self._queue: queue.SimpleQueue[tuple[str, bytes, Any]] = queue.SimpleQueue()
        self._path, self._loop = path, loop
        threading.Thread(target=self._run, daemon=True).start()

    def add(self, key: str, value: bytes, done: Any) -> None:
        self._queue.put((key, value, done))

    def _run(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("CREATE TABLE log (key TEXT, value BLOB)")
        while True:
            batch = [self._queue.get()]
            while not self._queue.empty():
                batch.append(self._queue.get())
            connection.execute("BEGIN")
            connection.executemany("INSERT INTO log VALUES (?, ?)", [(key, value) for key, value, _ in batch])
            connection.execute("COMMIT")
            self._loop.call_soon_threadsafe(_finish, [done for _, _, done in batch])


def _finish(replies: list[Any]) -> None:
    for reply in replies:
        reply()


class _Connection(asyncio.Protocol):
    def __init__(self, score: Any, log: _Log) -> None:
        self._score, self._log, self._body = score, log, b""
        self._parser = httptools.HttpRequestParser(self)
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        body, self._body = self._body, b""
        key = uuid.uuid4().hex
        reply, record = self._score(body)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(reply)
        self._log.add(key, record, lambda: self._transport.write(head + reply))


def _scorer(paths: list[str]) -> Any:
    sessions = [_session(path) for path in paths]
    taken = sessions[0].get_inputs()[0]
    row = Annotated[list[float], msgspec.Meta(min_length=taken.shape[1], max_length=taken.shape[1])]
    decode = msgspec.json.Decoder(msgspec.defstruct("Predict", [("instances", list[row])])).decode
    encode, pack = msgspec.json.Encoder().encode, msgspec.msgpack.Encoder().encode

    def score(body: bytes) -> tuple[bytes, bytes]:
        pixels = np.array(decode(body).instances, np.float32)
        answers = [session.run(None, {taken.name: pixels})[0] for session in sessions]
        record = pack((pixels.tobytes(), [answer.tobytes() for answer in answers], time.time_ns()))
        return encode({"predictions": answers[0].tolist()}), record

    return score


async def _main() -> None:
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory() as folder:
        score, log = _scorer(sys.argv[1].split(",")), _Log(Path(folder) / "log.db", loop)
        server = await loop.create_server(lambda: _Connection(score, log), "127.0.0.1", int(sys.argv[2]))
        await server.serve_forever()


uvloop.run(_main())
