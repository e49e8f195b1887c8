"""``/tokens`` of the control port: an admin does from elsewhere what ``headrace tokens`` does on the machine."""

import asyncio
from collections.abc import Callable
from urllib.parse import unquote

import msgspec

from headrace.errors import HeadraceError, UsageError
from headrace.gateway.answers import UNREADABLE, encode, error_body, our_fault
from headrace.gateway.http import JSON, Request, Response, Send
from headrace.gateway.routes import Route, route
from headrace.placement.access import Scope, Tokens, scopes_named
from headrace.serving.moments import span_s

_ONE = route("/tokens/([^/]+)", {b"DELETE": Scope.ADMIN})
_ALL = route("/tokens", {b"GET": Scope.ADMIN, b"HEAD": Scope.ADMIN, b"POST": Scope.ADMIN})


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    scopes: list[str]
    expires: str | None = None


class TokenDesk:
    """Answers who may make tokens.

    Args:
        tokens: Those of the project.
        loop: The event loop; files are written beside it.
    """

    routes: tuple[Route, ...] = (_ALL, _ONE)

    def __init__(self, tokens: Tokens, loop: asyncio.AbstractEventLoop) -> None:
        self._tokens, self._loop = tokens, loop

    def __call__(self, request: Request, path: str, send: Send) -> None:
        """Answer a request to one of the routes."""
        named = _ONE.path.fullmatch(path)
        if named is not None:
            self._beside(lambda: self._revoke(unquote(named[1])), send)
        elif request.method == b"POST":
            self._beside(lambda: self._make(request.body), send)
        else:
            self._beside(self._list, send)

    def _beside(self, work: Callable[[], Response], send: Send) -> None:
        def done() -> Response:
            try:
                return work()
            except HeadraceError as error:
                return error_body(error)
            except Exception:  # noqa: BLE001 - whatever it is, one reply is due
                return our_fault()

        self._loop.run_in_executor(None, done).add_done_callback(lambda ended: send(ended.result()))

    def _list(self) -> Response:
        """Without digests, which are of use to nobody."""
        rows = [{k: v for k, v in token.to_json().items() if k != "sha256"} for token in self._tokens.current()]
        return Response(200, encode({"tokens": rows}))

    def _make(self, body: bytes) -> Response:
        asked = _read(body)
        scopes = scopes_named(asked.scopes)
        for_s = None if asked.expires is None else span_s(asked.expires)
        secret = self._tokens.make(asked.name, scopes, for_s=for_s)
        told = {"name": asked.name, "scopes": sorted(scopes), "token": secret}
        return Response(201, encode(told), JSON, b"cache-control: no-store\r\n")

    def _revoke(self, name: str) -> Response:
        self._tokens.revoke(name)
        return Response(200, encode({"name": name, "state": "revoked"}))


def _read(body: bytes) -> _Asked:
    try:
        return msgspec.json.decode(body, type=_Asked)
    except UNREADABLE as error:
        fix = '{"name": "scraper", "scopes": ["read"], "expires": "90d"}'
        raise UsageError("this asks for no token", why=str(error), fix=fix) from None
