"""The gRPC server of a gateway, on the event loop that serves HTTP as well."""

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc

from headrace.gateway.access import Access
from headrace.gateway.control import Control
from headrace.gateway.http import BODY_LIMIT
from headrace.gateway.routes import ANYBODY
from headrace.gateway.rpc.calls import Offered
from headrace.gateway.rpc.guard import Door, Guarded
from headrace.gateway.rpc.health import HEALTH, HealthService
from headrace.gateway.rpc.inference import InferenceService
from headrace.gateway.rpc.messages import INFERENCE
from headrace.gateway.rpc.reflection import ReflectionService
from headrace.gateway.rpc.reload import ReloadService
from headrace.gateway.rpc.tfs import ServingServices
from headrace.gateway.rpc.tfs_messages import SERVING
from headrace.gateway.tls import Tls
from headrace.placement.access import Scope
from headrace.placement.bind import authority
from headrace.serving.dataplane import DataPlane

_STREAMS = 1024
_GRACE_S = 5.0
_TOLD_S = 0.25
"""So long callers are told that the server ends, before their connections do."""

_OPTIONS = (
    ("grpc.max_receive_message_length", BODY_LIMIT),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_concurrent_streams", _STREAMS),
    ("grpc.so_reuseport", 0),
)


class RpcServer:
    """Answers gRPC calls.

    Args:
        plane: What scores.
        control: What may be changed; None where nothing may.
        access: Who may call; None where everybody may.
    """

    def __init__(self, plane: DataPlane, control: Control | None = None, access: Access | None = None) -> None:
        self._server: Any = grpc.aio.server(options=_OPTIONS)
        self._listening = False
        self._health = HealthService(plane, (*INFERENCE.services, *SERVING.services))
        services = (self._health, *services_over(plane, control))
        offered: Sequence[grpc.GenericRpcHandler] = services
        if access is not None:
            offered = (Guarded(services, access, ANYBODY if control is None else Scope.READ),)
        self._door = Door(offered)
        self._server.add_generic_rpc_handlers((self._door,))

    async def listen(self, host: str, port: int, tls: Tls | None = None) -> int:
        """Bind and accept, wrapped into ``tls``; return the port (chosen by the system when ``port`` is 0).

        Raises:
            RuntimeError: The address is taken.
        """
        address = authority(host, port)
        if tls is None:
            bound: int = self._server.add_insecure_port(address)
        else:
            bound = self._server.add_secure_port(address, _credentials(tls))
        await self._server.start()
        self._listening = True
        return bound

    async def close(self) -> None:
        """Refuse new calls, let those under way end for some seconds."""
        self._door.shut = self._health.ending = True
        if self._listening:
            await asyncio.sleep(_TOLD_S)
        await self._server.stop(_GRACE_S)


def services_over(plane: DataPlane, control: Control | None) -> tuple[Offered, ...]:
    """What is offered beside health.

    Args:
        plane: What scores.
        control: What may be changed; None where nothing may.
    """
    reflection = ReflectionService((INFERENCE, SERVING, HEALTH))
    if control is None:
        return ServingServices(plane), InferenceService(plane), reflection
    changing = InferenceService(plane, control.keeper), ReloadService(plane, control)
    return ServingServices(plane), *changing, reflection


def _credentials(tls: Tls) -> Any:
    """What is asked for the certificate at each handshake; it answers when there is another than before.

    Where callers show one it always answers. What it gives has keys of its own for sessions: none can be resumed then,
    which would let a caller in by a certificate that has expired meanwhile, or that it no longer has.
    """
    asks = tls.authority is not None
    shown = tls.pem

    def configuration(pem: tuple[bytes, bytes]) -> Any:
        certificate, key = pem
        return grpc.ssl_server_certificate_configuration([(key, certificate)], tls.authority)

    def newer() -> Any:
        nonlocal shown
        if tls.pem == shown and not asks:
            return None
        shown = tls.pem
        return configuration(shown)

    return grpc.dynamic_ssl_server_credentials(configuration(shown), newer, require_client_authentication=asks)
