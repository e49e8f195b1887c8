"""The control port: load and unload, for who has a token for that. The rest is what the scoring port answers too."""

import asyncio
from collections.abc import Collection
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import msgspec

from headrace.errors import HeadraceError, UsageError
from headrace.gateway.answers import UNREADABLE, error_body, our_fault
from headrace.gateway.app import Gateway
from headrace.gateway.depth import check_text
from headrace.gateway.http import Request, Response, Send
from headrace.gateway.oip import CHANGE
from headrace.gateway.routes import ANYBODY, Needs, found
from headrace.gateway.token_desk import TokenDesk
from headrace.placement.access import Scope
from headrace.serving.folder_source import FolderSource
from headrace.serving.keeper import Keeper

_HARMLESS = {"load": frozenset[str](), "unload": frozenset({"unload_dependents"})}


class _Change(msgspec.Struct):
    parameters: dict[str, Any] = {}


@dataclass(frozen=True)
class Control:
    """What may be changed while a gateway serves.

    Attributes:
        keeper: Loads and unloads.
        folder: The watched folder, whose settings may be replaced; None without one.
    """

    keeper: Keeper
    folder: FolderSource | None = None


class ControlPort:
    """Handles the requests of the control port that its guard lets through; see ``access.Guard``.

    Args:
        gateway: Answers what changes nothing.
        control: What may be changed.
        desk: Makes and revokes tokens.
        loop: The event loop.
    """

    def __init__(self, gateway: Gateway, control: Control, desk: TokenDesk, loop: asyncio.AbstractEventLoop) -> None:
        self._gateway, self._keeper, self._desk, self._loop = gateway, control.keeper, desk, loop
        self.admitted = gateway.admitted

    def __call__(self, request: Request, send: Send) -> None:
        """Answer one request."""
        path = request.target.partition(b"?")[0].decode("latin-1")
        change = CHANGE.fullmatch(path)
        if change is not None:
            self._change(change[2], unquote(change[1]), request, send)
        elif found(self._desk.routes, path) is not None:
            self._desk(request, path, send)
        else:
            self._gateway(request, send)

    def _change(self, verb: str, name: str, request: Request, send: Send) -> None:
        try:
            check_parameters(verb, _parameters(request.body))
            done = self._keeper.load(name) if verb == "load" else self._keeper.unload(name)
            done.add_done_callback(lambda ended: self._loop.call_soon_threadsafe(send, _reply(ended)))
        except HeadraceError as error:
            send(error_body(error))
        except Exception:  # noqa: BLE001 - whatever it is, one reply is due
            send(our_fault())

    def needs(self, target: bytes) -> Needs:
        """The scopes of the methods at a target; here nothing is for anybody, health neither."""
        own = found(self._desk.routes, target.partition(b"?")[0].decode("latin-1"))
        needed = self._gateway.needs(target) if own is None else own.needs
        return {method: Scope.READ if scope is ANYBODY else scope for method, scope in needed.items()}


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
    check_text(body)
    try:
        return msgspec.json.decode(body or b"{}", type=_Change).parameters
    except UNREADABLE as error:
        raise UsageError("this is no load or unload request", why=str(error), fix='{"parameters": {}}') from None


def _reply(done: "Future[None]") -> Response:
    error = done.exception()
    if error is None:
        return Response(200, b"{}")
    return error_body(error if isinstance(error, HeadraceError) else UsageError(str(error)))
