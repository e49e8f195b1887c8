"""``grpc.health.v1.Health``: what probes of Kubernetes, load balancers and ``grpc_health_probe`` ask."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc

from headrace.errors import NotFound, UsageError
from headrace.gateway.routes import ANYBODY
from headrace.gateway.rpc.calls import Offered, Rpc, at_once, parsed, unary
from headrace.gateway.rpc.schema import Messages
from headrace.serving.dataplane import DataPlane

HEALTH = Messages(
    "grpc.health.v1",
    """
message HealthCheckRequest { string service = 1; }
message HealthCheckResponse { ServingStatus status = 1; }
enum ServingStatus { UNKNOWN = 0; SERVING = 1; NOT_SERVING = 2; SERVICE_UNKNOWN = 3; }
service Health {
  rpc Check (HealthCheckRequest) returns (HealthCheckResponse);
  rpc Watch (HealthCheckRequest) returns (stream HealthCheckResponse);
}
""",
)
_SERVING, _NOT_SERVING, _SERVICE_UNKNOWN = 1, 2, 3
_LOOK_S = 0.1


class HealthService(Offered):
    """``Check`` and ``Watch``.

    Args:
        plane: It is healthy once every endpoint can score.
        services: Names that may be asked for besides the server's own, which is empty.

    Attributes:
        ending: The server is about to end: it serves no more, and who watches is told so, and let go.
    """

    def __init__(self, plane: DataPlane, services: Iterable[str]) -> None:
        self._plane, self._services = plane, frozenset({"", *services})
        self.ending = False
        self._flip: asyncio.Future[None] | None = None
        watch = grpc.unary_stream_rpc_method_handler(
            self._watch, response_serializer=HEALTH.HealthCheckResponse.SerializeToString
        )
        self.calls = {
            "/grpc.health.v1.Health/Check": Rpc(unary(HEALTH.HealthCheckRequest, at_once(self._check)), ANYBODY),
            "/grpc.health.v1.Health/Watch": Rpc(watch, ANYBODY),
        }

    def _check(self, request: Any) -> Any:
        status = self._status(request.service)
        if status == _SERVICE_UNKNOWN:
            known = ", ".join(sorted(self._services))
            raise NotFound(f"no service named {request.service[:100]!r}", fix=f"one of {known}")
        return HEALTH.HealthCheckResponse(status=status)

    async def _watch(self, message: bytes, context: Any) -> AsyncIterator[Any]:
        """What it is now, and every change; a service that is unknown may come, so that ends no stream."""
        try:
            service = parsed(HEALTH.HealthCheckRequest, message).service
        except UsageError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        told = None
        while not self.ending:
            if (status := self._status(service)) != told:
                yield HEALTH.HealthCheckResponse(status=status)
                told = status
            else:
                await self._flipped()
        yield HEALTH.HealthCheckResponse(status=self._status(service))

    async def _flipped(self) -> None:
        """Wait until it serves no more, or again. One looks for all, as anybody may watch, and any number of times."""
        if self._flip is None or self._flip.done():
            self._flip = asyncio.ensure_future(self._look(self._status("")))
        await asyncio.shield(self._flip)

    async def _look(self, before: int) -> None:
        while self._status("") == before and not self.ending:  # noqa: ASYNC110 - the plane has no event
            await asyncio.sleep(_LOOK_S)

    def _status(self, service: str) -> int:
        if service not in self._services:
            return _SERVICE_UNKNOWN
        return _SERVING if self._plane.ready and not self.ending else _NOT_SERVING
