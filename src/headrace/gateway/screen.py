"""From where requests may come: under which names of this server, and from which web pages."""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from headrace.client.credentials import LOOPBACK
from headrace.errors import SettingsError
from headrace.gateway.answers import encode
from headrace.gateway.http import Request, Response, Send

_CACHED = 256
_ORIGIN = re.compile(r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
_NAME = re.compile(r"[A-Za-z0-9.-]{1,253}")
_ALLOWS = (
    b"access-control-allow-methods: GET, HEAD, POST\r\n"
    b"access-control-allow-headers: authorization, content-type, inference-header-content-length\r\n"
    b"access-control-max-age: 600\r\n"
)
_SHOWS = (
    b"access-control-expose-headers: x-headrace-id, x-headrace-winner, x-headrace-elapsed-ms, x-headrace-logged, "
    b"inference-header-content-length, retry-after, www-authenticate\r\n"
)


class Screen:
    """Which requests are looked at, before anybody asks who sends them.

    Pages in a browser must not reach a server that their reader can: a foreign Host (DNS rebinding) and an Origin that
    is not allowed are refused.

    Args:
        hosts: Names of this server besides loopback's.
        origins: Whose pages may ask.
        addresses: Whether every IP address is a name of it: no page can have a browser take one for its own.

    Attributes:
        known: Values of ``Host`` that have passed, some hundred at most.
    """

    def __init__(self, hosts: Iterable[str] = (), origins: Iterable[str] = (), *, addresses: bool = False) -> None:
        self._hosts, self._origins = LOOPBACK | {host.lower() for host in hosts}, frozenset(origins)
        self._addresses = addresses
        self.known: set[bytes] = set()

    def admitted(self, request: Request, send: Send) -> Send | None:
        """How to send the reply; None when it is sent: a refusal, or leave to a page to ask (CORS)."""
        host = request.headers.get(b"host")
        # Clients of HTTP/1.0 alone have none, and no browser, against whose pages the rule stands, is one of them.
        if host is not None and host not in self.known:
            if not self._is_ours(_host_name(host)):
                why = "this Host is refused; use the address the server is bound to"
                send(Response(403, encode({"error": why}), headers=self.shown(request.headers)))
                return None
            if len(self.known) < _CACHED:
                self.known.add(host)
        if b"origin" not in request.headers:
            return send
        shown = self.shown(request.headers)
        del request.headers[b"origin"]  # what comes after need not ask again
        if not shown:
            send(Response(403, encode({"error": "requests from web pages (Origin) are refused"})))
            return None
        if request.method == b"OPTIONS" and b"access-control-request-method" in request.headers:
            send(Response(200, b"", headers=shown + _ALLOWS))
            return None
        return lambda response: send(response._replace(headers=response.headers + shown))

    def shown(self, headers: Mapping[bytes, bytes]) -> bytes:
        """Those headers of a reply that let the page read it which asked; nothing where none did that may."""
        origin = headers.get(b"origin")
        if origin is None or origin.decode("latin-1") not in self._origins:
            return b""
        return b"access-control-allow-origin: %b\r\nvary: origin\r\n%b" % (origin, _SHOWS)

    def _is_ours(self, name: str) -> bool:
        return name in self._hosts or (self._addresses and _is_address(name))


def screen_of(hosts: str, origins: str, *, addresses: bool) -> Screen:
    """What the settings say, commas between.

    Raises:
        SettingsError: A name is none, or an origin.
    """
    named, pages = _listed(hosts), _listed(origins)
    for name in named:
        if not _NAME.fullmatch(name):
            raise SettingsError(f"allowed_hosts has {name!r}", why="a name is due", fix="models.example.org")
    for page in pages:
        if not _ORIGIN.fullmatch(page):
            raise SettingsError(f"allowed_origins has {page!r}", why="an origin is due", fix="https://shop.example.org")
    return Screen(named, pages, addresses=addresses)


def _listed(said: str) -> list[str]:
    return [part.strip() for part in said.split(",") if part.strip()]


def _host_name(host: bytes) -> str:
    try:
        return urlsplit(f"//{host.decode('ascii')}").hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
