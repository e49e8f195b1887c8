"""The control port: load and unload, for who has the token. Everything else there is what the scoring port answers."""

import asyncio
import hmac
import re
from collections.abc import Collection
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import msgspec

from headrace.errors import HeadraceError, Unauthorized, UsageError
from headrace.gateway.answers import UNREADABLE, encode, error_body, our_fault, wrong_method
from headrace.gateway.app import Gateway
from headrace.gateway.http import JSON, Request, Response, Send
from headrace.serving.folder_source import FolderSource
from headrace.serving.keeper import Keeper

_CHANGE = re.compile(rb"/v2/repository/models/([^/?]+)/(load|unload)/?")
_HARMLESS = {"load": frozenset[str](), "unload": frozenset({"unload_dependents"})}


class _Change(msgspec.Struct):
    parameters: dict[str, Any] = {}


class Token:
    """Who may change what is served.

    Args:
        secret: What callers must send as ``Authorization: Bearer <secret>``; the scheme in any case (RFC 9110, 11.1).
    """

    def __init__(self, secret: str) -> None:
        self._due = secret.encode()

    def check(self, header: bytes) -> None:
        """Raise ``Unauthorized`` unless the header carries the secret; takes equally long wherever they differ."""
        scheme, _, secret = header.partition(b" ")
        if not hmac.compare_digest(secret, self._due) or scheme.lower() != b"bearer":
            raise Unauthorized(
                "the control port needs its token",
                why="the header Authorization is missing or wrong",
                fix="Authorization: Bearer <what .headrace/control.token holds>",
            )


@dataclass(frozen=True)
class Control:
    """What may be changed while a gateway serves.

    Attributes:
        keeper: Loads and unloads.
        token: Who may.
        folder: The watched folder, whose settings may be replaced; None without one.
    """

    keeper: Keeper
    token: Token
    folder: FolderSource | None = None


class ControlPort:
    """Handles every request of the control port; see ``http.Handler``.

    Args:
        gateway: Answers what changes nothing.
        control: What may be changed.
        loop: The event loop.
    """

    def __init__(self, gateway: Gateway, control: Control, loop: asyncio.AbstractEventLoop) -> None:
        self._gateway, self._loop = gateway, loop
        self._keeper, self._token = control.keeper, control.token

    def __call__(self, request: Request, send: Send) -> None:
        """Answer one request."""
        refusal = self._gateway.refusal(request)
        if refusal is not None:
            send(refusal)
            return
        try:
            self._token.check(request.headers.get(b"authorization", b""))
            found = _CHANGE.fullmatch(request.target)
            if found is None:
                self._gateway(request, send)
                return
            if (wrong := wrong_method(request, b"POST")) is not None:
                send(wrong)
                return
            verb = found[2].decode()
            check_parameters(verb, _parameters(request.body))
            name = unquote(found[1].decode("latin-1"))
            done = self._keeper.load(name) if verb == "load" else self._keeper.unload(name)
            done.add_done_callback(lambda ended: self._loop.call_soon_threadsafe(send, _reply(ended)))
        except Unauthorized as error:
            send(Response(401, encode({"error": str(error)}), JSON, b"www-authenticate: Bearer\r\n"))
        except HeadraceError as error:
            send(error_body(error))
        except Exception:  # noqa: BLE001 - whatever it is, one reply is due
            send(our_fault())


def check_parameters(verb: str, names: Collection[str]) -> None:
    """Raise ``UsageError`` for a parameter that would say what is loaded, or from where."""
    for name in sorted(set(names) - _HARMLESS[verb]):
        what = "files are not taken from callers" if name.startswith("file:") else f"parameter {name!r} is refused"
        raise UsageError(
            what,
            why="what is served, and from where, is said by deployments",
            fix=f"{verb} the model by its name alone",
        )


def _parameters(body: bytes) -> Collection[str]:
    try:
        return msgspec.json.decode(body or b"{}", type=_Change).parameters
    except UNREADABLE as error:
        raise UsageError("this is no load or unload request", why=str(error), fix='{"parameters": {}}') from None


def _reply(done: "Future[None]") -> Response:
    error = done.exception()
    if error is None:
        return Response(200, b"{}")
    return error_body(error if isinstance(error, HeadraceError) else UsageError(str(error)))
