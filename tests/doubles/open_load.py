"""Load at a fixed rate, whatever becomes of it: who waits for a reply sends no slower, who lost his server tries again."""

import asyncio
import threading
import time
from collections import deque
from typing import NamedTuple

import uvloop

BOUND_S = 30.0


class Reply(NamedTuple):
    """What came back; the time is the server's, from arrival to reply."""

    status: int
    id: str
    winner: str
    elapsed_s: float


class OpenLoad:
    """Asks until it is ended.

    Args:
        port: Of a gateway on this machine.
        request: What to ask, as a whole message.
        rate: How often a second.
        connections: As many requests can be under way.
        host: Where the gateway listens.

    Attributes:
        request: What is asked from now on.
        replies: In order of coming.
        sent: Requests.
        broken: Those whose connection ended before a reply came.
        unasked: Replies to nothing: a second answer to a request.
    """

    def __init__(self, port, request, *, rate=100, connections=64, host="127.0.0.1"):
        self.port, self.request, self.rate, self.host = port, request, rate, host
        self.replies, self.sent, self.broken, self.unasked = [], 0, 0, 0
        self.free, self.stopping = deque(), False
        self._connections = connections
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait_for(self, more, within_s=BOUND_S):
        """Wait until so many more replies have come; return them."""
        before, until = len(self.replies), time.monotonic() + within_s
        while len(self.replies) < before + more:
            assert time.monotonic() < until, f"{len(self.replies) - before} of {more} replies"
            time.sleep(0.002)
        return self.replies[before:]

    def wait_for_winner(self, winner, within_s=BOUND_S):
        """Wait until this one answers a request."""
        until = time.monotonic() + within_s
        while self.wait_for(1)[-1].winner != winner:
            assert time.monotonic() < until, f"{winner} answers nothing"

    def end(self):
        """Send no more, and wait for what is under way."""
        self.stopping = True
        self._thread.join(BOUND_S)
        assert not self._thread.is_alive()

    def _run(self):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._all())

    async def _all(self):
        lines = [asyncio.create_task(self._line()) for _ in range(self._connections)]
        await self._ask()
        until = time.monotonic() + BOUND_S / 2
        while len(self.replies) + self.broken < self.sent and time.monotonic() < until:  # noqa: ASYNC110 - bounded
            await asyncio.sleep(0.005)
        for line in lines:
            line.cancel()
        await asyncio.wait(lines)

    async def _ask(self):
        loop = asyncio.get_running_loop()
        begun, number = loop.time(), 0
        while not self.stopping:
            number += 1
            await asyncio.sleep(max(0.0, begun + number / self.rate - loop.time()))
            if self.free:
                self.sent += 1
                self.free.popleft().ask(self.request)

    async def _line(self):
        loop = asyncio.get_running_loop()
        while True:
            try:
                _, line = await loop.create_connection(lambda: _Line(self), self.host, self.port)
            except OSError:  # between two lives of the server
                await asyncio.sleep(0.01)
                continue
            try:
                await line.gone.wait()
            finally:
                line.abort()
                await asyncio.shield(line.gone.wait())


class _Line(asyncio.Protocol):
    """A connection; one request is under way on it at a time."""

    def __init__(self, load):
        self._load, self.gone = load, asyncio.Event()
        self._transport, self._data, self._open = None, b"", False

    def connection_made(self, transport):
        self._transport = transport
        self._load.free.append(self)

    def abort(self):
        self._transport.abort()

    def ask(self, request):
        self._open = True
        self._transport.write(request)

    def data_received(self, data):
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found:
            return
        lines = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:])
        if len(body) < int(lines[b"content-length"]):
            return
        self._data = body[int(lines[b"content-length"]) :]
        load = self._load
        load.unasked += not self._open
        identifier, winner = (lines.get(name, b"").decode() for name in (b"x-headrace-id", b"x-headrace-winner"))
        elapsed_s = float(lines.get(b"x-headrace-elapsed-ms", b"nan")) / 1000
        load.replies.append(Reply(int(head[9:12]), identifier, winner, elapsed_s))
        self._open = False
        load.free.append(self)

    def connection_lost(self, exc):
        self._load.broken += self._open
        if self in self._load.free:
            self._load.free.remove(self)
        self.gone.set()
