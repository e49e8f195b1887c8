"""The ports of a gateway: which there are, who may ask there, and where they were bound."""

import asyncio
import sys
from collections.abc import Awaitable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from headrace.errors import MissingExtra, Unavailable
from headrace.gateway.access import Access, Guard
from headrace.gateway.app import Gateway
from headrace.gateway.control import Control, ControlPort
from headrace.gateway.doorway import Doorway
from headrace.gateway.http import Handler, Server, Shown
from headrace.gateway.tls import Tls
from headrace.gateway.token_desk import TokenDesk
from headrace.placement.bind import UNENCRYPTED, Bind, authority
from headrace.serving.dataplane import DataPlane
from headrace.serving.report import report

if TYPE_CHECKING:
    from headrace.gateway.rpc.server import RpcServer


@dataclass(frozen=True)
class Ports:
    """What is listened on besides the bound port; 0 is a free one, None is none.

    Attributes:
        grpc: Scores.
        control: Loads and unloads besides, for who has a token.
        control_grpc: The same.
    """

    grpc: int | None = None
    control: int | None = None
    control_grpc: int | None = None

    @property
    def controlled(self) -> bool:
        """Whether anything can be changed."""
        return self.control is not None or self.control_grpc is not None


@dataclass(frozen=True)
class Offer:
    """What a gateway offers, and to whom.

    Attributes:
        bind: Where it scores over HTTP; its host is that of all ports.
        ports: The others.
        tls: Its certificate; None to speak unencrypted.
        access: Who may; None where nobody is asked.
        control: What may be changed, on the control ports.
    """

    bind: Bind
    ports: Ports
    tls: Tls | None
    access: Access | None
    control: Control

    @property
    def scoring(self) -> Access | None:
        """Who may score; None for everybody who reaches it, which only this machine does."""
        return self.access if self.bind.exposed else None


class _Opening:
    """Opens ports one after the other, and says where."""

    def __init__(self, offer: Offer, shown: Shown) -> None:
        self._offer, self._shown, self._loop = offer, shown, asyncio.get_running_loop()
        self.servers: list[Server] = []
        self.rpcs: list[RpcServer] = []

    async def http(self, handler: Handler, port: int, option: str) -> str:
        connection = partial(Doorway, handler) if isinstance(handler, Guard) else None
        server = Server(handler, self._loop, connection, self._shown)
        self.servers.append(server)
        tls = self._offer.tls
        at = await self._bound(server.listen(self._host, port, None if tls is None else tls.context), port, option)
        return f"{self._offer.bind.scheme}://{at}"

    async def rpc(self, server: "RpcServer", port: int, option: str) -> str:
        self.rpcs.append(server)
        return await self._bound(server.listen(self._host, port, self._offer.tls), port, option)

    @property
    def _host(self) -> str:
        return self._offer.bind.host

    async def _bound(self, listening: Awaitable[int], port: int, option: str) -> str:
        try:
            return authority(self._host, await listening)
        except (OSError, RuntimeError) as error:
            why, fix = (getattr(error, "strerror", "") or str(error))[:200], f"{option} 0 takes a free one"
            where = authority(self._host, port)
            await asyncio.gather(*(rpc.close() for rpc in self.rpcs))  # left open, gRPC speaks last, of a closed loop
            raise Unavailable("the gateway cannot listen", where=where, why=why, fix=fix) from error


async def listening(plane: DataPlane, gateway: Gateway, offer: Offer) -> tuple[list[Server], list["RpcServer"]]:
    """Open every port and say where; the scoring port's address comes last.

    Raises:
        MissingExtra: gRPC is asked for and not installed.
        Unavailable: An address is taken, or is none of this machine.
    """
    opening, ports, access = _Opening(offer, gateway.shown), offer.ports, offer.access
    if ports.grpc is not None:
        at = await opening.rpc(_rpc_server(plane, None, offer.scoring), ports.grpc, "--grpc-port")
        sys.stdout.write(f"gateway listens for gRPC on {at}\n")
    scoring: Handler = gateway if offer.scoring is None else Guard(gateway, offer.scoring)
    scores_at = await opening.http(scoring, offer.bind.port, "--port")
    if ports.control is not None and access is not None:
        loop = asyncio.get_running_loop()
        port = ControlPort(gateway, offer.control, TokenDesk(access.tokens, loop), loop)
        at = await opening.http(Guard(port, access), ports.control, "--control-port")
        sys.stdout.write(f"control listens on {at}\n")
    if ports.control_grpc is not None:
        server = _rpc_server(plane, offer.control, access)
        at = await opening.rpc(server, ports.control_grpc, "--control-grpc-port")
        sys.stdout.write(f"control listens for gRPC on {at}\n")
    if offer.bind.exposed and offer.tls is None:
        report(f"{UNENCRYPTED}: whoever is on the way to {scores_at} reads requests, answers and tokens")
    sys.stdout.write(f"gateway listens on {scores_at}\n")
    sys.stdout.flush()
    return opening.servers, opening.rpcs


def _rpc_server(plane: DataPlane, control: Control | None, access: Access | None) -> "RpcServer":
    try:
        from headrace.gateway.rpc.server import RpcServer
    except ImportError as error:
        raise MissingExtra("gRPC is not installed", why=str(error), fix="pip install 'headrace[grpc]'") from error
    return RpcServer(plane, control, access)
