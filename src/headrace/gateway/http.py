"""HTTP/1.1 straight on the event loop: httptools parses, limits are counted as bytes come, replies keep their order.

There is no framework between socket and data plane (docs/decisions/0006): a request that inline models answer is
parsed, scored and written within one callback, without a task.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Literal, NamedTuple, Protocol

import httptools

from headrace.gateway.busy_poll import BusyPoll
from headrace.gateway.targets import origin_form
from headrace.serving.arrival import Raw

BODY_LIMIT = 16 * 1024 * 1024
HEADER_LIMIT = 32 * 1024
READ_TIMEOUT_S = 10.0
IDLE_TIMEOUT_S = 75.0
_LINGER_S = 3.0
_PIPELINE = 32
_SWEEP_S = 0.5
# When the server ends: how long silent clients may still send, and how long those in the middle of a request.
_SILENT_S = 0.5
_SENDING_S = 3.0
_LOOK_S = 0.005
# What a proxy in front may read otherwise than we do when it comes twice.
_ONCE = frozenset({b"authorization", b"host", b"content-type", b"content-encoding", b"transfer-encoding"})

_CLOSE = b"connection: close\r\n"

JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"


class Pending(Protocol):
    """The work on a request that is not answered yet."""

    def cancel(self) -> None:
        """Call it off: nobody waits for the answer any more."""


@dataclass(slots=True)
class Request:
    """A whole request.

    Attributes:
        method: ``POST``.
        target: Path and query, as sent.
        headers: By lower-case name; the last of a repeated one, of which ``_ONCE`` has none. No trailers. Those of
            HTTP/1.1 have ``host``.
        body: At most ``BODY_LIMIT`` bytes.
        keep_alive: Whether the connection goes on after the reply.
        pending: What is called off when the client goes before the reply; whoever answers sets it.
    """

    method: bytes
    target: bytes
    headers: dict[bytes, bytes]
    body: bytes
    keep_alive: bool
    pending: Pending | None = None

    def header(self, name: str) -> str:
        """A header's value by its lower-case name; empty when it was not sent."""
        return self.headers.get(name.encode(), b"").decode("latin-1")

    @property
    def raw(self) -> Raw:
        """Target, content type and body."""
        return Raw(self.target.decode("latin-1"), self.header("content-type"), self.body)


class Response(NamedTuple):
    """A whole reply; ``headers`` are complete lines, each ending in CRLF."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: bytes = b""


Stage = Literal["silent", "receiving", "answering"]
Send = Callable[[Response], None]
Handler = Callable[[Request, Send], None]
"""Answers a request by calling ``send`` exactly once, now or later, on the event loop."""
Shown = Callable[[Mapping[bytes, bytes]], bytes]
"""Of the headers of a request that is refused unread: those of the reply by which a page in a browser may read why."""

_STATUS_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus}


class Server:
    """The open connections, and what they share.

    Args:
        handler: Answers requests.
        loop: The event loop.
        connection: Makes what reads from a client; ``Connection``, unless the port asks for tokens.
        shown: Whom refusals are shown to; no page, unless it says so.
    """

    def __init__(
        self,
        handler: Handler,
        loop: asyncio.AbstractEventLoop,
        connection: "Callable[[Server], Connection] | None" = None,
        shown: Shown = lambda _headers: b"",
    ) -> None:
        self._connection, self.shown = connection or Connection, shown
        self.handler, self.loop = handler, loop
        self.connections: set[Connection] = set()
        self.busy_poll = BusyPoll(loop)
        self.closing = False
        self.date = b""
        self._listener: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Bind and accept, wrapped into ``tls``; return the port (chosen by the system when ``port`` is 0)."""
        shaken = None if tls is None else READ_TIMEOUT_S
        self._listener = await self.loop.create_server(
            lambda: self._connection(self), host, port, backlog=1024, ssl=tls, ssl_handshake_timeout=shaken
        )
        self._sweep()
        bound: int = self._listener.sockets[0].getsockname()[1]
        return bound

    async def finish(self) -> None:
        """Refuse new connections, and take what open ones are about to send: each is told to close with its reply.

        A client that sends while its connection is closed gets no answer, so connections in use are not closed but
        told; those that stay silent are cut after a moment. What is being answered is not waited for.
        """
        await asyncio.sleep(0)  # whoever has connected is accepted
        if self._listener is not None:
            self._listener.close()
        self.closing = True  # not before: a client that is told to close connects anew
        await self._until_none(("silent", "receiving"), _SILENT_S)
        self._cut("silent")
        await self._until_none(("receiving",), _SENDING_S)
        self._cut("silent", "receiving")

    def close(self) -> None:
        """Close what is left, once written."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self.connections):
            connection.close()

    async def _until_none(self, stages: tuple[Stage, ...], within_s: float) -> None:
        until = self.loop.time() + within_s
        while self.loop.time() < until and any(c.stage in stages for c in self.connections):  # noqa: ASYNC110 - clients end it
            await asyncio.sleep(_LOOK_S)

    def _cut(self, *stages: Stage) -> None:
        for connection in [c for c in self.connections if c.stage in stages]:
            connection.close()

    def _sweep(self) -> None:
        now = self.loop.time()
        self.date = b"date: " + formatdate(usegmt=True).encode() + b"\r\n"
        for connection in [c for c in self.connections if c.expires < now]:
            connection.expire()
        self._sweeper = self.loop.call_later(_SWEEP_S, self._sweep)


class Fault(Exception):
    """A request that is not read on: it is answered so, and the connection ends.

    Args:
        status: Of the reply.
        text: What is wrong.
        headers: Of the reply, as ``Response`` has them.
    """

    def __init__(self, status: int, text: str, headers: bytes = b"") -> None:
        super().__init__(text)
        self.status, self.headers = status, headers


class Connection(asyncio.Protocol):
    """One client connection: parses requests, answers them in order, one at a time."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[Request] = deque()
        self._waiting_bytes = 0
        self._current: Request | None = None
        self._refusing = False
        self._refusal: Response | None = None
        self._choked = False
        self._paused = False
        self._rereading = False
        self._receiving = False
        self._in_headers = False
        self._progress = False
        self._fed = 0
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._header_bytes = 0
        self._body: bytes | bytearray = b""
        self.expires = server.loop.time() + READ_TIMEOUT_S

    # what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The client went, or we closed."""
        self._transport = None
        self._waiting.clear()
        request, self._current = self._current, None
        if request is not None and request.pending is not None:
            request.pending.cancel()
        self._server.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        """Parse; a fault is answered and ends the connection."""
        if self._refusing:
            return
        self._progress = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._reread(data[upgrade.args[0] :])
            return
        except httptools.HttpParserCallbackError as error:
            fault = error.__context__
            if not isinstance(fault, Fault):
                raise
            self._refuse(fault.status, str(fault), fault.headers)
        except httptools.HttpParserError as error:
            self._refuse(400, f"malformed HTTP: {error}")
        # The parser holds an unfinished line of headers or trailers back, so what it was fed is counted too.
        if self._receiving and not self._progress:
            self._fed += len(data)
            if self._fed > HEADER_LIMIT:
                self._refuse(431, f"the headers exceed {HEADER_LIMIT} bytes")

    def pause_writing(self) -> None:
        """The client reads slowly: take no more requests from it, and answer no more of those that wait."""
        self._choked = True
        self._regulate()

    def resume_writing(self) -> None:
        """It caught up."""
        self._choked = False
        self._regulate()
        self._next()

    # what the parser calls

    def on_message_begin(self) -> None:
        """A request begins."""
        self._headers, self._target, self._body = {}, b"", b""
        self._header_bytes = 0
        self._receiving = self._in_headers = True
        self._fed = 0
        self.expires = self._server.loop.time() + READ_TIMEOUT_S

    def on_url(self, url: bytes) -> None:
        """(A part of) the request target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or a trailer, which is dropped: it must not change what the headers said."""
        self._header_bytes += len(name) + len(value) + 4
        if self._in_headers:
            name, headers = name.lower(), self._headers
            if name in headers and name in _ONCE:
                raise Fault(400, f"the header {name.decode()} comes twice")
            headers[name] = value
        elif self._header_bytes > HEADER_LIMIT:
            raise Fault(431, f"the headers exceed {HEADER_LIMIT} bytes")

    def on_headers_complete(self) -> None:
        """Refuse a declared body that is too large; tell a client that waits to go on."""
        self._in_headers, headers = False, self._headers
        if self._header_bytes + len(self._target) > HEADER_LIMIT:
            raise Fault(431, f"the headers exceed {HEADER_LIMIT} bytes")
        if b"host" not in headers and self._parser.get_http_version() != "1.0":
            raise Fault(400, "the header host is missing")
        declared = headers.get(b"content-length")
        if declared is not None and (len(declared) > 18 or int(declared) > BODY_LIMIT):  # noqa: PLR2004 - digits of 2**60
            raise Fault(413, f"the body exceeds {BODY_LIMIT} bytes")
        if b"transfer-encoding" in headers and headers[b"transfer-encoding"].lower() != b"chunked":
            raise Fault(400, "a transfer-encoding other than chunked is refused")
        # While another request is answered, this would come before its reply; a client need not wait for it.
        waits = b"expect" in headers and self._parser.get_http_version() != "1.0"  # which knows no such reply
        if waits and self._current is None and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._progress, self._fed = True, 0
        if len(self._body) + len(body) > BODY_LIMIT:
            raise Fault(413, f"the body exceeds {BODY_LIMIT} bytes")
        if not self._body:
            self._body = body
            return
        # In one piece: as a list, a million chunks of a few bytes would take thirty times their size.
        if isinstance(self._body, bytes):
            self._body = bytearray(self._body)
        self._body += body

    def on_message_complete(self) -> None:
        """A request is whole: answer it, or let it wait for the one before it."""
        parser, body = self._parser, self._body
        if parser.should_upgrade():  # the parser stops, with the body unread
            if parser.get_method() == b"CONNECT":
                raise Fault(400, "this server speaks HTTP/1.1 only")
            return
        self._receiving, self._progress = False, True
        if isinstance(body, bytearray):
            body = bytes(body)
        self._body = b""
        target, headers = self._target, self._headers
        if not target.startswith(b"/"):
            target = origin_form(target, headers)
        request = Request(parser.get_method(), target, headers, body, parser.should_keep_alive())
        if self._current is None and not self._waiting and not self._choked:
            self._handle(request)
            return
        self._expect_reply()
        self._waiting.append(request)
        self._waiting_bytes += len(body)
        self._regulate()

    # what the server calls

    def expire(self) -> None:
        """Time is up: a half-sent request is told so; an idle client, or one that does not read its reply, is cut."""
        if self._paused and not self._choked:  # it waits for us
            self.expires = self._server.loop.time() + READ_TIMEOUT_S
        elif self._receiving and not self._choked:
            self._refuse(408, f"the request did not arrive within {READ_TIMEOUT_S:g} s")
        elif self._transport is not None:
            self._transport.abort()  # closing would wait for a client that never reads

    @property
    def stage(self) -> Stage:
        """What it is in the middle of."""
        if self._current is not None or self._waiting:
            return "answering"
        return "receiving" if self._receiving else "silent"

    def close(self) -> None:
        """Close once what was written is sent."""
        if self._transport is not None:
            self._transport.close()

    def _reread(self, rest: bytes) -> None:
        """Read a request that asks for an upgrade, as Java's client does, as if it did not (RFC 9110, 7.8)."""
        if self._rereading:
            self._refuse(400, "an upgrade is refused behind another")
            return
        kept = [pair for pair in self._headers.items() if pair[0] not in {b"upgrade", b"expect"}]
        head = b"".join(b"%b: %b\r\n" % pair for pair in kept)
        parser = self._parser
        line = b"%b %b HTTP/%b\r\n" % (parser.get_method(), self._target, parser.get_http_version().encode())
        self._parser = httptools.HttpRequestParser(self)
        self._rereading = True
        self.data_received(b"%b%b\r\n%b" % (line, head, rest))
        self._rereading = False

    def _handle(self, request: Request) -> None:
        self._current = request
        self.expires = float("inf")
        self._server.handler(request, self._send)

    def _send(self, response: Response) -> None:
        request, self._current, transport = self._current, None, self._transport
        if transport is None or request is None:
            return
        goes_on = request.keep_alive and (not self._server.closing or bool(self._waiting))
        self.expires = self._server.loop.time() + IDLE_TIMEOUT_S
        # Who says how the connection goes on is answered: clients of HTTP/1.0 would wait for its end otherwise.
        said = (b"connection: keep-alive\r\n" if b"connection" in request.headers else b"") if goes_on else _CLOSE
        self._server.busy_poll.replied()
        transport.write(self._encoded(response, said, bodiless=request.method == b"HEAD"))
        if not goes_on:
            transport.close()
        elif self._waiting:
            # Through the loop, or a long pipeline would recurse.
            self._server.loop.call_soon(self._next)
        elif self._refusal is not None:
            self._end(self._refusal)

    def _next(self) -> None:
        if self._current is None and self._waiting and not self._choked:
            request = self._waiting.popleft()
            self._waiting_bytes -= len(request.body)
            self._regulate()
            self._handle(request)

    def _encoded(self, response: Response, said: bytes, *, bodiless: bool = False) -> bytes:
        status, body, content_type, headers = response
        return b"%bcontent-type: %b\r\ncontent-length: %d\r\n%b%b%b\r\n%b" % (
            _STATUS_LINES[status],
            content_type,
            len(body),
            self._server.date,
            headers,
            said,
            b"" if bodiless else body,
        )

    def _refuse(self, status: int, text: str, headers: bytes = b"") -> None:
        """Answer a request that cannot be read once those before it are answered, then end."""
        self._refusing = True
        self._receiving = self._in_headers = False
        body = b'{"error":"%b"}' % text.replace("\\", "").replace('"', "'").encode()
        headers += self._server.shown(self._headers)
        if self._current is None and not self._waiting:
            self._end(Response(status, body, headers=headers))
        else:
            self._refusal = Response(status, body, headers=headers)
            self._expect_reply()

    def _expect_reply(self) -> None:
        """Wait for a reply that is under way as long as it takes, but not for a client that does not read."""
        answering = self._current is not None
        self.expires = float("inf") if answering else self._server.loop.time() + IDLE_TIMEOUT_S

    def _end(self, response: Response) -> None:
        """Send the last reply; what still comes is dropped, or the reply would be lost."""
        if self._transport is None:
            return
        self._transport.write(self._encoded(response, _CLOSE))
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self.expires = self._server.loop.time() + _LINGER_S

    def _regulate(self) -> None:
        """Read on unless the client does not read, or has sent as much ahead as is kept for it."""
        ahead = len(self._waiting) >= _PIPELINE or self._waiting_bytes > BODY_LIMIT
        stop = (self._choked or ahead) and not self._refusing
        if stop != self._paused and self._transport is not None:
            self._paused = stop
            if stop:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()
