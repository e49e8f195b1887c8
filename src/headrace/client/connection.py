"""One keep-alive HTTP/1.1 connection over a plain socket.

The standard library's client spends more CPU on a small reply's headers than the server does on the whole request;
this one reads what headrace servers send (always a content length) and nothing more.
"""

import select
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from headrace.errors import Unavailable

if TYPE_CHECKING:  # on this machine nothing is encrypted
    from ssl import SSLContext

_HEAD_LIMIT = 64 * 1024


class Reply(NamedTuple):
    """A reply as it came.

    Attributes:
        status: HTTP status.
        head: All header lines, lower-cased names not guaranteed; see ``header``.
        body: All of it.
    """

    status: int
    head: bytes
    body: bytes

    def header(self, name: str) -> str:
        """The value of a header, or nothing."""
        wanted = name.lower().encode()
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.lower() == wanted:
                return value.strip().decode("latin-1")
        return ""


class Way(NamedTuple):
    """How a connection goes to a server.

    Attributes:
        token: What it shows there; none where empty.
        tls: What it is wrapped into; None to go unencrypted.
    """

    token: str = ""
    tls: "SSLContext | None" = None


PLAIN = Way()
_HARMLESS = frozenset({"GET", "HEAD"})
_JSON = b"content-type: application/json\r\n"


class Connection:
    """Sends one request at a time; not for several threads at once.

    Args:
        host: Where to.
        port: Its port.
        timeout_s: For connecting, and for each wait for bytes.
        way: How it goes there.
    """

    def __init__(self, host: str, port: int, timeout_s: float, way: Way = PLAIN) -> None:
        self._address, self._timeout_s, self._tls = (host, port), timeout_s, way.tls
        self._own = f"authorization: Bearer {way.token}\r\n".encode() if way.token else b""
        self._host = f"{f'[{host}]' if ':' in host else host}:{port}".encode()
        self._socket: socket.socket | None = None
        self._rest = b""

    def request(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Reply:
        """Send and read the reply.

        A connection that the server has closed meanwhile is opened anew before anything is sent. What breaks later is
        asked again once where asking twice changes nothing, and never where it might have been scored already.

        Args:
            method: ``GET``.
            path: With its query.
            body: What to send.
            headers: By lower-case name, besides ``content-type: application/json``, which they may replace.

        Raises:
            Unavailable: Nobody listens, the reply did not come in time, or it broke off.
        """
        head = b"%b %b HTTP/1.1\r\nhost: %b\r\n%bcontent-length: %d\r\n\r\n" % (
            method.encode(),
            path.encode(),
            self._host,
            self._lines(headers) if headers else _JSON + self._own,
            len(body),
        )
        if self._socket is not None and self._is_over():
            self.close()
        again = self._socket is not None and method in _HARMLESS
        try:
            try:
                return self._exchange(head + body)
            except ConnectionError:
                self.close()
                if not again:
                    raise
                return self._exchange(head + body)
        except OSError as error:
            self.close()
            raise Unavailable(
                "the server does not answer",
                where=f"{'https' if self._tls else 'http'}://{self._host.decode()}",
                why=str(error) or type(error).__name__,
                fix="check the address, and whether headrace serving run runs there",
            ) from error

    def close(self) -> None:
        """Close; the next request opens it again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._rest = b""

    def _lines(self, headers: Mapping[str, str]) -> bytes:
        said = {"content-type": "application/json", **headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in said.items()).encode("latin-1")
        return lines if "authorization" in said else lines + self._own

    def _is_over(self) -> bool:
        """Whether an idle connection was closed at the other end, or holds what nobody asked for."""
        assert self._socket is not None
        watched = select.poll()
        watched.register(self._socket, select.POLLIN)
        return bool(watched.poll(0))

    def _exchange(self, message: bytes) -> Reply:
        if self._socket is None:
            self._socket = socket.create_connection(self._address, self._timeout_s)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                self._socket = self._tls.wrap_socket(self._socket, server_hostname=self._address[0])
        self._socket.sendall(message)
        data = self._rest
        while (end := data.find(b"\r\n\r\n")) < 0:
            if len(data) > _HEAD_LIMIT:
                raise ConnectionError("the reply's headers do not end")
            data += self._receive()
        head = data[:end]
        lower = head.lower()
        due = end + 4 + _length(lower)
        if len(data) < due:
            parts = [data]
            missing = due - len(data)
            while missing > 0:
                parts.append(self._receive())
                missing -= len(parts[-1])
            data = b"".join(parts)
        self._rest = data[due:]
        reply = Reply(int(head[9:12]), head, data[end + 4 : due])
        if b"\r\nconnection: close" in lower:
            self.close()
        return reply

    def _receive(self) -> bytes:
        assert self._socket is not None
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionResetError("the connection broke off")
        return data


def _length(head: bytes) -> int:
    start = head.find(b"\r\ncontent-length:")
    if start < 0:
        return 0
    end = head.find(b"\r\n", start + 2)
    return int(head[start + 17 : end if end > 0 else None])
