"""Requests at a fixed rate, whatever becomes of them: who waits for a reply sends no slower for it."""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import uvloop

_CONNECTIONS = 64
_LAST_S = 5.0


@dataclass
class Came:
    """What came back.

    Attributes:
        sent: Requests.
        statuses: Of the replies.
        winners: Models that answered.
        elapsed_ms: From arrival to reply, by the server's clock.
        ids: Of the requests.
    """

    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    winners: Counter[str] = field(default_factory=Counter)
    elapsed_ms: list[float] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)

    def take(self, head: bytes) -> None:
        """A reply's head."""
        lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
        self.statuses[int(head[9:12])] += 1
        self.winners[lines[b"x-headrace-winner"].decode()] += 1
        self.elapsed_ms.append(float(lines[b"x-headrace-elapsed-ms"]))
        self.ids.append(lines[b"x-headrace-id"].decode())


class _Line(asyncio.Protocol):
    """A connection; one request is under way on it at a time."""

    def __init__(self, came: Came) -> None:
        self._came, self._data = came, b""
        self.free = True
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if found and len(body) >= int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            self._data, self.free = b"", True
            self._came.take(head)

    def ask(self, request: bytes) -> None:
        assert self.transport is not None
        self.free = False
        self.transport.write(request)


async def _asked(address: str, endpoint: str, row: object, rate: int, seconds: float) -> Came:
    parts, came = urlsplit(address), Came()
    body = json.dumps({"instances": [row]}).encode()
    line = f"POST /v1/models/{endpoint}:predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
    request, loop = line.encode() + body, asyncio.get_running_loop()
    made = [
        (await loop.create_connection(lambda: _Line(came), parts.hostname, parts.port))[1] for _ in range(_CONNECTIONS)
    ]
    begun = loop.time()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, begun + number / rate - loop.time()))
        free = next((one for one in made if one.free), None)
        if free is None:
            raise SystemExit("the server is so far behind that no connection is free")
        free.ask(request)
        made.append(made.pop(made.index(free)))  # in turn: a server closes connections that nobody uses
        came.sent += 1
    until = loop.time() + _LAST_S
    while len(came.ids) < came.sent and loop.time() < until:  # noqa: ASYNC110 - bounded
        await asyncio.sleep(0.01)
    for one in made:
        assert one.transport is not None
        one.transport.abort()
    return came


def asked(address: str, endpoint: str, row: object, *, rate: int, seconds: float) -> Came:
    """Ask ``rate`` times a second for so many seconds, and wait for the last replies."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_asked(address, endpoint, row, rate, seconds))
