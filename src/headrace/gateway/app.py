"""The gateway: who may ask, and which protocol answers."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from headrace import __version__
from headrace.errors import NotFound
from headrace.gateway.answers import encode, error_body, our_fault, token_told, wrong_method
from headrace.gateway.encodings import UnreadableBody, packed, unpacked
from headrace.gateway.http import Request, Response, Send
from headrace.gateway.metrics import rendered
from headrace.gateway.metrics.tensorflow import PATH as TENSORFLOW_METRICS
from headrace.gateway.mlflow import MlflowScoring
from headrace.gateway.oip import OpenInference
from headrace.gateway.openapi import document
from headrace.gateway.overview import Canaries, Overviews, no_canaries
from headrace.gateway.routes import NOTHING, READ, Needs, Route, found, route, tells_a_token
from headrace.gateway.screen import Screen
from headrace.gateway.tfs import TensorFlowServing
from headrace.gateway.vertex import Vertex, VertexRoutes
from headrace.serving.dataplane import DataPlane

_CACHED = 256
EXPOSITION = b"text/plain; version=0.0.4; charset=utf-8"
"""What Prometheus' text format is called."""

Protocol = Callable[[Request, str, Send], None]


class Mounted(NamedTuple):
    """A protocol in its place.

    Attributes:
        answer: Answers what a route of it matches.
        routes: Which paths these are, and what they need.
        lost: Answers what none of them matches.
    """

    answer: Protocol
    routes: Sequence[Route]
    lost: Protocol


class Gateway:
    """Handles every request of a server; callers need no token, unless an ``access.Guard`` stands before it.

    Args:
        plane: What scores.
        screen: From where requests may come; None for this machine alone.
        vertex: Routes of Vertex AI that it answers besides its own.
        metrics: Under whose names it tells its metrics.
        canaries: How far each canary is.
    """

    def __init__(
        self,
        plane: DataPlane,
        screen: Screen | None = None,
        vertex: VertexRoutes | None = None,
        metrics: Sequence[str] = ("headrace",),
        canaries: Canaries = no_canaries,
    ) -> None:
        self._plane = plane
        self._vertex = vertex or VertexRoutes()
        self._metrics_at = {"/metrics": metrics}
        if "tensorflow" in metrics:
            self._metrics_at[TENSORFLOW_METRICS] = ("tensorflow",)
        self._screen = screen or Screen()
        self._known_hosts = self._screen.known
        self._mounted = self._mount(plane, canaries)
        hosted = Vertex(plane, self._vertex)
        self._hosted = Mounted(hosted, hosted.routes, _nowhere)
        self._routes: dict[bytes, tuple[Protocol, str]] = {}

    def _mount(self, plane: DataPlane, canaries: Canaries) -> Mapping[str, Mounted]:
        """Every protocol by the first part of its paths."""
        mlflow, serving, open_inference = MlflowScoring(plane), TensorFlowServing(plane), OpenInference(plane)
        scoring = Mounted(mlflow, mlflow.routes, mlflow.lost)
        overviews = Overviews(plane, canaries)
        metrics = Mounted(self._metrics, [route(path, READ) for path in self._metrics_at], _nowhere)
        return {
            "": Mounted(self._front, [route("/", READ)], _nowhere),
            "v1": Mounted(serving, serving.routes, serving.lost),
            "v2": Mounted(open_inference, open_inference.routes, _nowhere),
            **dict.fromkeys(("invocations", "ping", "health", "version"), scoring),
            "metrics": metrics,
            "monitoring": metrics,
            "openapi.json": Mounted(self._openapi, [route("/openapi.json", READ)], _nowhere),
            "overview": Mounted(overviews, overviews.routes, _nowhere),
        }

    @property
    def declared(self) -> tuple[Route, ...]:
        """Every route, each once."""
        routes = (one for mounted in (self._hosted, *self._mounted.values()) for one in mounted.routes)
        return tuple({one.path: one for one in routes}.values())

    def __call__(self, request: Request, send: Send) -> None:
        """Answer one request; see ``http.Handler``."""
        headers = request.headers
        if headers.get(b"host") not in self._known_hosts or b"origin" in headers:
            admitted = self._screen.admitted(request, send)
            if admitted is None:
                return
            send = admitted
        if b"accept-encoding" in headers or b"content-encoding" in headers:
            try:
                send = _recoded(request, send)
            except UnreadableBody as error:
                send(Response(error.status, encode({"error": str(error)})))
                return
        protocol, path = self._routes.get(request.target) or self._route(request.target)
        try:
            protocol(request, path, send)
        except Exception:  # noqa: BLE001 - whatever it is, one reply is due
            send(our_fault())

    def _route(self, target: bytes) -> tuple[Protocol, str]:
        """Which protocol answers, and the path; that of the first targets is remembered."""
        path = target.partition(b"?")[0].decode("latin-1")
        if tells_a_token(target):
            return _told, path
        mounted, declared = self._declared(path)
        if declared is None:
            return mounted.lost, path
        if len(self._routes) < _CACHED:
            self._routes[target] = mounted.answer, path
        return mounted.answer, path

    def needs(self, target: bytes) -> Needs:
        """The scopes of the methods at a target; nothing for one that is nowhere."""
        declared = None if tells_a_token(target) else self._declared(target.partition(b"?")[0].decode("latin-1"))[1]
        return NOTHING if declared is None else declared.needs

    def _declared(self, path: str) -> tuple[Mounted, Route | None]:
        """What answers a path, and the route that says so, if any does."""
        if (hosted := found(self._hosted.routes, path)) is not None:
            return self._hosted, hosted
        first = path.split("/", 2)[1] if path.startswith("/") else "*"
        # TensorFlow Serving's paths alone are read without regard to case.
        mounted = self._mounted.get("v1" if first == "V1" else first, _NOWHERE)
        return mounted, found(mounted.routes, path)

    def admitted(self, request: Request, send: Send) -> Send | None:
        """How to send the reply; None when it is sent. See ``Screen.admitted``."""
        return self._screen.admitted(request, send)

    def shown(self, headers: Mapping[bytes, bytes]) -> bytes:
        """To which page a refusal is shown; see ``Screen.shown``."""
        return self._screen.shown(headers)

    def _front(self, request: Request, _path: str, send: Send) -> None:
        """What this is, and where the rest lies: for people who open the address, and who only have the port."""
        body = {
            "server": f"headrace {__version__}",
            "status": "alive",  # what clients of KServe's V1 protocol look for
            "ready": self._plane.ready,
            "endpoints": {name: f"/v1/models/{name}:predict" for name in self._plane.names},
            "see": {
                "/openapi.json": "what is answered, and with what",
                "/overview": "endpoints, versions, memory and traffic",
                "/metrics": "the same for Prometheus",
                "/v2/health/ready": "whether every endpoint can answer",
            },
            "docs": "docs/how-to/serve-a-model.md and docs/reference/protocols.md of headrace",
        }
        send(wrong_method(request, b"GET", b"HEAD") or Response(200, encode(body)))

    def _metrics(self, request: Request, path: str, send: Send) -> None:
        refusal = wrong_method(request, b"GET", b"HEAD")
        send(refusal or Response(200, rendered(self._plane, self._metrics_at[path]).encode(), EXPOSITION))

    def _openapi(self, request: Request, _path: str, send: Send) -> None:
        send(
            wrong_method(request, b"GET", b"HEAD")
            or Response(200, encode(document(self._plane, self._vertex, self._metrics_at)))
        )


def _nowhere(_request: Request, path: str, send: Send) -> None:
    send(error_body(NotFound(f"nothing is served at {path[:200]}", fix="GET / says what is")))


def _told(_request: Request, _path: str, send: Send) -> None:
    send(token_told())


_NOWHERE = Mounted(_nowhere, (), _nowhere)


def _recoded(request: Request, send: Send) -> Send:
    """Unpack the request's body; return a ``send`` that packs the reply as the caller wants it."""
    headers = request.headers
    if b"content-encoding" in headers:
        request.body = unpacked(request.body, headers[b"content-encoding"])
    accepted = headers.get(b"accept-encoding", b"")
    return (lambda response: send(packed(response, accepted))) if accepted else send
