"""``python -m headrace.gateway --root PROJECT [--endpoint NAME ...] [--host 127.0.0.1] [--port 8700]``."""

import argparse
import asyncio
import contextlib
import gc
import os
import resource
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.assembly import open_platform, project_home
from headrace.delivery.rollout import EVERY_S, Rollouts
from headrace.errors import HeadraceError, MissingExtra, Unavailable
from headrace.gateway.access import Access, Guard
from headrace.gateway.app import Gateway
from headrace.gateway.control import Control, ControlPort
from headrace.gateway.http import Server
from headrace.gateway.vertex import vertex_routes
from headrace.journey.platform import Platform
from headrace.monitoring.interruptions import Interruptions
from headrace.monitoring.left_open import LeftOpen
from headrace.placement.access import Tokens
from headrace.placement.gateway import GATEWAY, authority, checked_host, checked_names, checked_port, in_workers
from headrace.placement.tokens import mask_key
from headrace.serving import provenance
from headrace.serving.aspired import Moved, Source
from headrace.serving.crew import Crew
from headrace.serving.dataplane import DataPlane
from headrace.serving.desk import Desks
from headrace.serving.folder_source import FolderSource
from headrace.serving.keeper import Keeper
from headrace.serving.ledger_source import LedgerSource
from headrace.serving.lookups import Lookups
from headrace.serving.report import report
from headrace.serving.scratch import Scratch
from headrace.settings import load_settings

if TYPE_CHECKING:
    from headrace.gateway.rpc.server import RpcServer

# How long the writer thread may wait for the interpreter while the event loop computes.
_SWITCH_S = 0.0002
_FILES = 65_536
_COLLECT_EVERY = 20_000
_STOP_S = 8.5
"""From being told to end until the last record is written; what takes longer is given up."""
_LEFT_S = 10.0
"""Between two looks for alerts of gateways that were killed."""


@dataclass(frozen=True)
class Ports:
    """Where it listens; 0 is a free port, None is none.

    Attributes:
        http: Scores.
        grpc: The same.
        control: Loads and unloads besides, for who has the token.
        control_grpc: The same.
    """

    http: int
    grpc: int | None = None
    control: int | None = None
    control_grpc: int | None = None


async def serve(
    platform: Platform, names: Sequence[str], *, host: str, ports: Ports, models: Path | None = None
) -> None:
    """Serve until SIGTERM or SIGINT; then finish what was accepted, and flush the log. SIGHUP: look for changes now."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    desks = Desks(platform.exchange(), loop) if in_workers(platform.settings.scorers) else None
    plane = _plane(platform, names, desks, loop)

    def moved(model: str, alias: str, version: int) -> None:
        loop.call_soon_threadsafe(plane.move, model, alias, version)

    source = LedgerSource(
        ledger=platform.ledger(),
        files=platform.files(),
        runtime=platform.runtime,
        moved=moved,
        names=names,
        workers=desks.require if desks else None,
    )
    sources: list[Source] = [source]
    scratch = Scratch(project_home(platform.settings) / "cache" / "models")
    folder = None if models is None else _watched(platform, plane, models, scratch, moved)
    sources += [] if folder is None else [folder]
    keeper = Keeper(plane, sources, post=loop.call_soon_threadsafe)
    loop.add_signal_handler(signal.SIGHUP, keeper.hurry)
    crew = Crew(1, "rollouts", _report)
    rollouts = Rollouts(plane, platform.ledger(), crew.put, source.refused_change)
    interruptions = Interruptions(platform.ledger(), crew.put, gateway=_one_of_several(platform))
    left = LeftOpen(platform.ledger())
    named = checked_names(platform.settings.metrics_names)
    gateway = Gateway(plane, vertex=vertex_routes(os.environ), metrics=named)
    controlled = partial(_control, platform, keeper, folder)
    servers, rpcs = await _listening(plane, gateway, controlled, host=host, ports=ports)
    keeper.start()
    crew.start()
    loop.call_soon(_now_and_then, partial(crew.put, left.look))
    await _looking(stopped, rollouts.look, lambda: interruptions.look(plane.logs, desks.troubles if desks else {}))
    interruptions.end()
    crew.stop()
    keeper.stop()
    begun = loop.time()
    await asyncio.gather(*(server.finish() for server in servers), *(rpc.close() for rpc in rpcs))
    await plane.close(_STOP_S - (loop.time() - begun))
    for server in servers:
        server.close()
    await asyncio.sleep(0)
    keeper.close()
    scratch.close()


def _plane(platform: Platform, names: Sequence[str], desks: Desks | None, loop: asyncio.AbstractEventLoop) -> DataPlane:
    lookups = Lookups(platform.online, loop.call_soon_threadsafe)
    return DataPlane(platform.stream(), loop, names, lambda: mask_key(project_home(platform.settings)), desks, lookups)


def _now_and_then(look: Callable[[], None]) -> None:
    """Look now, and again while the loop runs."""
    look()
    asyncio.get_running_loop().call_later(_LEFT_S, _now_and_then, look)


async def _looking(stopped: asyncio.Event, *looks: Callable[[], None]) -> None:
    """Look now and then, until it is to stop."""
    while not stopped.is_set():
        for look in looks:
            look()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), EVERY_S)


def _watched(platform: Platform, plane: DataPlane, models: Path, scratch: Scratch, moved: Moved) -> FolderSource:
    heard, warned = partial(provenance.record, platform.ledger()), partial(setattr, plane, "warnings")
    return FolderSource(models, runtime=platform.runtime, scratch=scratch, moved=moved, heard=heard, warned=warned)


async def _listening(
    plane: DataPlane, gateway: Gateway, controlled: Callable[[], tuple[Control, Access]], *, host: str, ports: Ports
) -> tuple[list[Server], list["RpcServer"]]:
    """Bind every port and say where; the scoring port's address comes last."""
    loop = asyncio.get_running_loop()
    servers: list[Server] = [Server(gateway, loop)]
    rpcs: list[RpcServer] = []
    if ports.grpc is not None:
        rpcs.append(_rpc_server(plane))
        at = await _bound(rpcs[0], host, ports.grpc, "--grpc-port")
        sys.stdout.write(f"gateway listens for gRPC on {at}\n")
    bound = await _bound(servers[0], host, ports.http, "--port")
    control, access = (None, None) if ports.control is None and ports.control_grpc is None else controlled()
    if ports.control is not None and control is not None and access is not None:
        servers.append(Server(Guard(ControlPort(gateway, control, loop), access), loop))
        at = await _bound(servers[1], host, ports.control, "--control-port")
        sys.stdout.write(f"control listens on http://{at}\n")
    if ports.control_grpc is not None:
        rpcs.append(_rpc_server(plane, control, access))
        at = await _bound(rpcs[-1], host, ports.control_grpc, "--control-grpc-port")
        sys.stdout.write(f"control listens for gRPC on {at}\n")
    sys.stdout.write(f"gateway listens on http://{bound}\n")
    sys.stdout.flush()
    return servers, rpcs


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and serve; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m headrace.gateway", description="Serve deployed endpoints.")
    parser.add_argument("--root", type=Path, required=True, help="the project folder")
    parser.add_argument(
        "--endpoint", action="append", default=[], help="of those deployed only this one; may be repeated"
    )
    parser.add_argument("--models", type=Path, default=None, help="serve the models of this folder as well")
    parser.add_argument("--host", default=None)
    parser.add_argument("--port", type=int, default=None)
    parser.add_argument("--metrics-names", default=None, help="whose: headrace, tensorflow, triton; commas between")
    parser.add_argument("--grpc-port", type=int, default=None, help="answer gRPC there as well; 0 for a free port")
    parser.add_argument("--control-port", type=int, default=None, help="load and unload there, with the token")
    parser.add_argument("--control-grpc-port", type=int, default=None, help="the same over gRPC")
    given = parser.parse_args(arguments)
    try:
        flags = {name: getattr(given, name) for name in ("host", "port", "metrics_names")}
        settings = load_settings(given.root.resolve(), flags)
        checked_host(settings.host)
        for port in (settings.port, given.grpc_port, given.control_port, given.control_grpc_port):
            checked_port(port or 0)
        checked_names(settings.metrics_names)
        in_workers(settings.scorers)
        _open_more_files()
        sys.setswitchinterval(_SWITCH_S)
        gc.freeze()  # what start-up made stays: the collector need not look at it between requests
        gc.set_threshold(_COLLECT_EVERY, 50, 100)
        platform = open_platform(settings)
        try:
            ports = Ports(settings.port, given.grpc_port, given.control_port, given.control_grpc_port)
            _run(serve(platform, given.endpoint, host=settings.host, ports=ports, models=given.models))
        finally:
            platform.close()
    except HeadraceError as error:
        sys.stderr.write(f"error [{error.code}] {error}\n")
        return error.exit_code
    return 0


def _one_of_several(platform: Platform) -> str:
    """What this gateway is called where the project has others; else nothing."""
    named = platform.settings.gateway
    return "" if named == GATEWAY else named


def _report(error: Exception) -> None:
    report(f"a canary could not be taken further or ended: {error}")


def _open_more_files() -> None:
    """Each connection is an open file, and the usual limit is for programs that have few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, _FILES)), hard))


def _control(platform: Platform, keeper: Keeper, folder: FolderSource | None) -> tuple[Control, Access]:
    return Control(keeper, folder), Access(Tokens(project_home(platform.settings)))


async def _bound(server: "Server | RpcServer", host: str, port: int, option: str) -> str:
    """Have it listen; return where."""
    try:
        return authority(host, await server.listen(host, port))
    except (OSError, RuntimeError) as error:
        why, fix = (getattr(error, "strerror", "") or str(error))[:200], f"{option} 0 takes a free one"
        raise Unavailable("the gateway cannot listen", where=authority(host, port), why=why, fix=fix) from error


def _rpc_server(plane: DataPlane, control: Control | None = None, access: Access | None = None) -> "RpcServer":
    try:
        from headrace.gateway.rpc.server import RpcServer
    except ImportError as error:
        raise MissingExtra("gRPC is not installed", why=str(error), fix="pip install 'headrace[grpc]'") from error
    return RpcServer(plane, control, access)


def _run(main_task: Coroutine[Any, Any, None]) -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main_task)


if __name__ == "__main__":
    sys.exit(main())
