"""``grpc.health.v1.Health``: what probes of Kubernetes, load balancers and ``grpc_health_probe`` ask."""

from collections.abc import Iterable
from typing import Any

from headrace.errors import NotFound
from headrace.gateway.routes import ANYBODY
from headrace.gateway.rpc.calls import Offered, Rpc, at_once, unary
from headrace.gateway.rpc.schema import Messages
from headrace.serving.dataplane import DataPlane

HEALTH = Messages(
    "grpc.health.v1",
    """
message HealthCheckRequest { string service = 1; }
message HealthCheckResponse { int32 status = 1; }
""",
)
_SERVING, _NOT_SERVING = 1, 2


class HealthService(Offered):
    """``Check``; there is no ``Watch``, which callers take as a word to ask again.

    Args:
        plane: It is healthy once every endpoint can score.
        services: Names that may be asked for besides the server's own, which is empty.
    """

    def __init__(self, plane: DataPlane, services: Iterable[str]) -> None:
        self._plane, self._services = plane, frozenset({"", *services})
        check = unary(HEALTH.HealthCheckRequest, at_once(self._status))
        self.calls = {"/grpc.health.v1.Health/Check": Rpc(check, ANYBODY)}

    def _status(self, request: Any) -> Any:
        if request.service not in self._services:
            raise NotFound(f"no service named {request.service!r}", fix=f"one of {', '.join(sorted(self._services))}")
        return HEALTH.HealthCheckResponse(status=_SERVING if self._plane.ready else _NOT_SERVING)
