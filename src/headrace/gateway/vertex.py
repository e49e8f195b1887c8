"""Vertex AI's contract with a container: a health route and a predict route, named by the environment."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from headrace.errors import SettingsError
from headrace.gateway.answers import encode, wrong_method
from headrace.gateway.http import Request, Response, Send
from headrace.gateway.routes import HEALTH, SCORE, Route, route
from headrace.gateway.tfs import TensorFlowServing
from headrace.serving.dataplane import DataPlane


@dataclass(frozen=True)
class VertexRoutes:
    """Where Vertex AI asks.

    Attributes:
        predict: Path of predict requests: ``{"instances": [...]}`` gives ``{"predictions": [...]}``.
        health: Path that answers 200 once the first endpoint can score.
    """

    predict: str = ""
    health: str = ""


def vertex_routes(environment: Mapping[str, str]) -> VertexRoutes:
    """``AIP_PREDICT_ROUTE`` and ``AIP_HEALTH_ROUTE``; empty where they are not set.

    Raises:
        SettingsError: A route is no path.
    """
    routes = VertexRoutes(environment.get("AIP_PREDICT_ROUTE", ""), environment.get("AIP_HEALTH_ROUTE", ""))
    for name, path in (("AIP_PREDICT_ROUTE", routes.predict), ("AIP_HEALTH_ROUTE", routes.health)):
        if path and (not path.startswith("/") or not path.isascii() or set(path) & set(" ?#")):
            raise SettingsError(f"{name} is {path!r}", why="a path is due", fix=f"{name}=/predict")
    return routes


class Vertex:
    """Both routes over a data plane, for the server's first endpoint."""

    def __init__(self, plane: DataPlane, routes: VertexRoutes) -> None:
        self._plane, self._routes = plane, routes
        self._serving = TensorFlowServing(plane)

    @property
    def routes(self) -> tuple[Route, ...]:
        """The routes that are set; they may be one."""
        health, predict = self._routes.health, self._routes.predict
        needs = {health: HEALTH, predict: SCORE} if health != predict else {health: {**HEALTH, **SCORE}}
        return tuple(route(re.escape(path), needed) for path, needed in needs.items() if path)

    def __call__(self, request: Request, path: str, send: Send) -> None:
        """Answer a request to one of the two."""
        asks_health = path == self._routes.health
        if asks_health and (request.method != b"POST" or path != self._routes.predict):
            ready = self._plane.ready
            wrong = wrong_method(request, b"GET", b"HEAD")
            send(wrong or Response(200 if ready else 503, encode({"ready": ready})))
            return
        if wrong := wrong_method(request, b"POST"):
            send(wrong)
            return
        first = next(iter(self._plane.names), "")
        self._serving(request, f"/v1/models/{first}:predict", send)
