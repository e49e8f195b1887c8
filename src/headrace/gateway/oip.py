"""Open Inference Protocol v2 over REST, JSON and raw tensors: one tensor a column, or one a tensor input.

Shapes follow kserve/open-inference-protocol@d49cc23 (docs/reference/protocols.md); errors are ``{"error": text}``.
"""

import re
from typing import Any
from urllib.parse import unquote

import msgspec

from headrace import __version__
from headrace.errors import HeadraceError, NotFound, Unavailable, UsageError
from headrace.gateway.answers import (
    UNREADABLE,
    Respond,
    encode,
    error_body,
    parse,
    refuse_foreign_type,
    version_number,
    versions_of,
    wrong_method,
)
from headrace.gateway.depth import check_text
from headrace.gateway.http import Request, Response, Send
from headrace.gateway.oip_reply import infer_reply, wanted_outputs
from headrace.gateway.oip_request import DATATYPES, SIGNATURE, parse_infer, signature_asked, signature_of
from headrace.gateway.routes import DEPLOY, HEALTH, READ, SCORE, Route, route
from headrace.gateway.triton import EXTENSIONS, configuration, index, statistics
from headrace.models.signature import Column, Tensor
from headrace.placement.access import Scope
from headrace.serving.dataplane import DataPlane
from headrace.serving.rendezvous import Answer, Live
from headrace.serving.signed import signed

_WHICH = r"/v2/models/([^/]+)(?:/versions/([^/]+))?"
_INFER = re.compile(_WHICH + "/infer/*")
_MODEL = re.compile(_WHICH + "(/ready|/stats|/config)?/*")
CHANGE = re.compile(r"/v2/repository/models/([^/]+)/(load|unload)/*")
"""Loads or unloads: on the control port alone."""
_READS, _WRITES = (b"GET", b"HEAD"), (b"POST",)
_HEADER = b"inference-header-content-length"


class _Index(msgspec.Struct):
    ready: bool = False


class OpenInference:
    """``/v2`` over a data plane."""

    routes = (
        Route(_INFER, SCORE),
        route("/v2/health/(live|ready)/*", HEALTH),
        route("/v2/*", READ),
        Route(_MODEL, READ),
        route("/v2/repository/index/*", {b"POST": Scope.READ}),
        Route(CHANGE, DEPLOY),
    )

    def __init__(self, plane: DataPlane) -> None:
        self._plane, self._respond = plane, Respond(plane, error_body)

    def __call__(self, request: Request, path: str, send: Send) -> None:
        """Answer a request below ``/v2``."""
        try:
            scores = _INFER.fullmatch(path)
            changes = path.startswith("/v2/repository/")
            refusal = wrong_method(request, *(_WRITES if scores or changes else _READS))
            if refusal is not None:
                send(refusal)
            elif scores is not None:
                self._infer(unquote(scores[1]), scores[2], request, send)
            elif changes:
                send(self._repository(path.rstrip("/"), request.body))
            else:
                found = _MODEL.fullmatch(path)
                send(self._read(found) if found else self._server(path.rstrip("/")))
        except HeadraceError as error:
            send(error_body(error))

    def _read(self, found: re.Match[str]) -> Response:
        name, what = unquote(found[1]), found[3]
        if what == "/ready":
            return self._ready(found)
        if what is None and name == "stats" and name not in self._plane.names:
            served = [self._plane.live(n) for n in self._plane.names if self._plane.status(n).state == "serving"]
            return Response(200, encode({"model_stats": [row for live in served for row in statistics(live)]}))
        live = self._find(name, found[2])
        if what == "/stats":
            return Response(200, encode({"model_stats": statistics(live)}))
        return Response(200, encode(configuration(live) if what == "/config" else _metadata(name, live)))

    def _repository(self, path: str, body: bytes) -> Response:
        if path == "/v2/repository/index":
            return Response(200, encode(index(self._plane, ready=_only_ready(body))))
        if CHANGE.fullmatch(path):
            raise UsageError(
                "models are not loaded or unloaded on the scoring port",
                fix="use the control port (--control-port); what is deployed is loaded anyway",
            )
        raise NotFound(f"nothing is served at {path[:200]}")

    def _server(self, path: str) -> Response:
        if path == "/v2":
            return Response(200, encode({"name": "headrace", "version": __version__, "extensions": EXTENSIONS}))
        if path == "/v2/health/live":
            return Response(200, encode({"live": True}))
        if path == "/v2/health/ready":
            ready = self._plane.ready
            return Response(200 if ready else 503, encode({"ready": ready, "live": True}))
        raise NotFound(f"nothing is served at {path[:200]}")

    def _find(self, name: str, version: str | None) -> Live:
        if version is None:
            return self._plane.live(name)
        return self._plane.version(name, version_number(version))

    def _ready(self, found: re.Match[str]) -> Response:
        name = unquote(found[1])
        try:
            self._find(name, found[2])
        except Unavailable:
            return Response(503, encode({"name": name, "ready": False}))
        return Response(200, encode({"name": name, "ready": True}))

    def _infer(self, name: str, version: str | None, request: Request, send: Send) -> None:
        refuse_foreign_type(request)
        live = self._find(name, version)
        header = _header_bytes(request)
        if live.signature.others:
            live = signed(live, signature_asked(request.body, header))
        asked, parsed = parse(live, request.body, lambda decoder, body: parse_infer(decoder, body, header))
        if asked.parameters and SIGNATURE in asked.parameters:
            live = signed(live, signature_of(asked.parameters))
        wanted = wanted_outputs(asked, live.signature)

        def render(live: Live, answer: Answer) -> Response:
            return infer_reply(answer, live.signature, name=name, asked=asked, wanted=wanted)

        self._respond(live, parsed, render, request, send)


def _metadata(name: str, live: Live) -> dict[str, Any]:
    return {
        "name": name,
        "versions": versions_of(live),
        "platform": "headrace",
        "inputs": [_described(f) for f in live.decoder.signature.inputs],
        "outputs": [_described(f) for f in live.signature.outputs],
    }


def _only_ready(body: bytes) -> bool:
    check_text(body)
    try:
        return msgspec.json.decode(body or b"{}", type=_Index).ready
    except UNREADABLE as error:
        raise UsageError("this is no index request", why=str(error), fix='{"ready": true}') from None


def _header_bytes(request: Request) -> int | None:
    said = request.headers.get(_HEADER)
    if said is None:
        return None
    if not said.isdigit() or len(said) > 9:  # noqa: PLR2004 - more digits than any body has bytes
        raise UsageError(f"Inference-Header-Content-Length is {said[:20].decode('latin-1')!r}", why="a number is due")
    return int(said)


def _described(field: Column | Tensor) -> dict[str, Any]:
    shape = list(field.shape) if isinstance(field, Tensor) else [-1]
    return {"name": field.name, "datatype": DATATYPES[field.dtype], "shape": shape}
