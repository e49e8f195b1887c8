"""Load on a gateway: keep-alive connections with one request under way on each, from an event loop in a thread."""

import asyncio
import threading
import time
from collections import Counter

import uvloop

BOUND_S = 30.0


def predict(endpoint, body, path=""):
    """The bytes of a predict request."""
    head = f"POST /v1/models/{endpoint}{path}:predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


class Load:
    """Asks until it is ended, or the server goes.

    Args:
        port: Of a gateway on this machine.
        requests: What to ask, in turn, as whole messages.
        connections: How many at once.
        keep: Whether ids of what was answered are kept.
        most: So many requests and no more; 0 for no end.
        pause_s: How long each connection rests before it asks again.

    Attributes:
        seen: How often a reply had this status and winner; ``dropped`` counts requests that were sent and not answered.
        ids: Of the replies with status 200.
        unlogged: Those among them that say that they are not in the log.
    """

    def __init__(self, port, requests, *, connections=4, keep=True, most=0, pause_s=0.0):
        self.port, self.requests, self.most, self.pause_s = port, requests, most, pause_s
        self.seen, self.sent, self.done = Counter(), 0, 0
        self.ids, self.unlogged = [], []
        self.keep, self.stopping = keep, False
        self._connections = connections
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._ask())

    async def _ask(self):
        loop = asyncio.get_running_loop()

        async def connection():
            while not self.stopping:
                try:
                    _, asker = await loop.create_connection(lambda: _Asker(self), "127.0.0.1", self.port)
                except OSError:  # the server has gone, or listens no more
                    return
                await asker.gone.wait()

        await asyncio.gather(*(connection() for _ in range(self._connections)))

    def next(self):
        """The next request to send; None when there is none any more."""
        if self.stopping or (self.most and self.sent >= self.most):
            return None
        self.sent += 1
        return self.requests[self.sent % len(self.requests)]

    def wait_for(self, count, within_s=BOUND_S):
        """Wait until so many are done."""
        until = time.monotonic() + within_s
        while self.done < count and self._thread.is_alive():
            assert time.monotonic() < until, f"{self.done} of {count}"
            time.sleep(0.002)

    def end(self):
        """Send no more, wait for what is under way; return ``seen``."""
        self.stopping = True
        self._thread.join(BOUND_S)
        assert not self._thread.is_alive()
        return self.seen


class _Asker(asyncio.Protocol):
    def __init__(self, load):
        self._load, self.gone = load, asyncio.Event()
        self._transport, self._data, self._open = None, b"", False

    def connection_made(self, transport):
        self._transport = transport
        self._send()

    def _send(self):
        message = self._load.next()
        if message is None:
            self._load.stopping = True
            self._transport.close()
            return
        self._open = True
        self._transport.write(message)

    def data_received(self, data):
        self._data = data = self._data + data if self._data else data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return
        start = data.find(b"content-length: ") + 16
        if len(data) < end + 4 + int(data[start : data.find(b"\r\n", start)]):
            return
        self._data, self._open = b"", False
        self._took(data[:end])
        if b"connection: close" in data[:end]:
            self._transport.close()
        elif self._load.pause_s:
            asyncio.get_running_loop().call_later(self._load.pause_s, self._send)
        else:
            self._send()

    def _took(self, head):
        load, status = self._load, int(head[9:12])
        winner = _header(head, b"x-headrace-winner: ")
        load.seen[status, winner] += 1
        load.done += 1
        if load.keep and status == 200:
            load.ids.append(_header(head, b"x-headrace-id: "))
            if b"x-headrace-logged: false" in head:
                load.unlogged.append(load.ids[-1])

    def connection_lost(self, exc):
        if self._open:
            self._load.seen["dropped"] += 1
            self._load.done += 1
        self.gone.set()


def _header(head, name):
    start = head.find(name)
    if start < 0:
        return ""
    end = head.find(b"\r\n", start)
    return head[start + len(name) : end if end > 0 else None].decode()
