"""``python -m headrace.gateway --root PROJECT [--endpoint NAME ...] [--host 127.0.0.1] [--port 8700]``."""

import argparse
import asyncio
import contextlib
import gc
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from headrace.assembly import open_platform, project_home
from headrace.delivery.rollout import EVERY_S, Rollouts
from headrace.errors import HeadraceError, SettingsError
from headrace.gateway.access import Access
from headrace.gateway.app import Gateway
from headrace.gateway.control import Control
from headrace.gateway.listening import Offer, Ports, listening
from headrace.gateway.overview import Canaries
from headrace.gateway.screen import screen_of
from headrace.gateway.tls import Tls
from headrace.gateway.vertex import vertex_routes
from headrace.journey.platform import Platform
from headrace.monitoring.interruptions import Interruptions
from headrace.monitoring.left_open import LeftOpen
from headrace.monitoring.mask_keys import masked_with
from headrace.placement.access import Tokens
from headrace.placement.bind import CERTIFICATE, CLIENT_CA, KEY, UNENCRYPTED, Bind, bind_of, checked_port
from headrace.placement.gateway import GATEWAY, checked_names, in_workers
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
from headrace.settings import Settings, load_settings

# How long the writer thread may wait for the interpreter while the event loop computes.
_SWITCH_S = 0.0002
_FILES = 65_536
_COLLECT_EVERY = 20_000
_STOP_S = 8.5
"""From being told to end until the last record is written; what takes longer is given up."""
_LEFT_S = 10.0
"""Between two looks for alerts of gateways that were killed."""


async def serve(
    platform: Platform, names: Sequence[str], *, bind: Bind, ports: Ports, models: Path | None = None
) -> None:
    """Serve until SIGTERM or SIGINT; then finish what was accepted, and flush the log.

    SIGHUP: look for changes now, of the certificate too.
    """
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    desks = Desks(platform.exchange(), loop) if in_workers(platform.settings.scorers) else None
    crew = Crew(1, "rollouts", _report)
    plane = _plane(platform, names, desks, loop, crew)

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
    tls = None if bind.certificate is None or bind.key is None else Tls(bind.certificate, bind.key, bind.client_ca)
    loop.add_signal_handler(signal.SIGHUP, _look_again, keeper, tls)
    rollouts = Rollouts(plane, platform.ledger(), crew.put, source.refused_change)
    interruptions = Interruptions(platform.ledger(), crew.put, gateway=_one_of_several(platform))
    left = LeftOpen(platform.ledger())
    gateway = _gateway(plane, platform.settings, rollouts.told, exposed=bind.exposed)
    offer = Offer(bind, ports, tls, _access(platform, bind, ports), Control(keeper, folder))
    servers, rpcs = await listening(plane, gateway, offer)
    keeper.start()
    crew.start()
    loop.call_soon(_now_and_then, partial(crew.put, left.look))
    await _looking(stopped, rollouts.look, partial(_interrupted, interruptions, plane, source, desks))
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


def _plane(
    platform: Platform, names: Sequence[str], desks: Desks | None, loop: asyncio.AbstractEventLoop, crew: Crew
) -> DataPlane:
    lookups = Lookups(platform.online, loop.call_soon_threadsafe)

    def key() -> bytes:
        found = mask_key(project_home(platform.settings))
        crew.put(partial(masked_with, platform.ledger(), found))
        return found

    return DataPlane(platform.stream(), loop, names, key, desks, lookups)


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
    parser.add_argument(CERTIFICATE, default=None, help="PEM file; other hosts than loopback take it, and the key")
    parser.add_argument(KEY, default=None, help="PEM file of its key")
    parser.add_argument(CLIENT_CA, default=None, help="PEM file of the authority whose certificates callers must show")
    parser.add_argument(UNENCRYPTED, action="store_true", help="bind another host without TLS all the same")
    parser.add_argument("--metrics-names", default=None, help="whose: headrace, tensorflow, triton; commas between")
    parser.add_argument("--grpc-port", type=int, default=None, help="answer gRPC there as well; 0 for a free port")
    parser.add_argument("--control-port", type=int, default=None, help="load and unload there, with the token")
    parser.add_argument("--control-grpc-port", type=int, default=None, help="the same over gRPC")
    given = parser.parse_args(arguments)
    try:
        settable = ("host", "port", "metrics_names", "tls_certificate", "tls_key", "tls_client_ca")
        flags = {name: getattr(given, name) for name in settable}
        settings = load_settings(given.root.resolve(), flags)
        bind = bind_of(settings, unencrypted=given.expose_unencrypted)
        for port in (given.grpc_port, given.control_port, given.control_grpc_port):
            checked_port(port or 0)
        checked_names(settings.metrics_names)
        in_workers(settings.scorers)
        _open_more_files()
        sys.setswitchinterval(_SWITCH_S)
        gc.freeze()  # what start-up made stays: the collector need not look at it between requests
        gc.set_threshold(_COLLECT_EVERY, 50, 100)
        platform = open_platform(settings)
        try:
            ports = Ports(given.grpc_port, given.control_port, given.control_grpc_port)
            _run(serve(platform, given.endpoint, bind=bind, ports=ports, models=given.models))
        finally:
            platform.close()
    except HeadraceError as error:
        sys.stderr.write(f"error [{error.code}] {error}\n")
        return error.exit_code
    return 0


def _elsewhere(desks: Desks | None) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Endpoint to why its workers cannot be asked, and to which of them do not keep up."""
    return (desks.troubles, desks.behind) if desks else ({}, {})


def _interrupted(looks: Interruptions, plane: DataPlane, source: LedgerSource, desks: Desks | None) -> None:
    """Look what requests go through now, and whether changes of what is served would arrive."""
    plane.unfollowed = source.trouble
    unfollowed = dict.fromkeys(plane.names, plane.unfollowed)
    looks.look(plane.logs, *_elsewhere(desks), plane.counters, unfollowed)


def _one_of_several(platform: Platform) -> str:
    """What this gateway is called where the project may have others, here or on other hosts; else nothing."""
    named, alone = platform.settings.gateway, platform.settings.ledger.startswith("sqlite")
    return " ".join([*([] if named == GATEWAY else [named]), *([] if alone else ["on", socket.gethostname()])])


def _report(error: Exception) -> None:
    report(f"a canary could not be taken further or ended: {error}")


def _open_more_files() -> None:
    """Each connection is an open file, and the usual limit is for programs that have few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, _FILES)), hard))


def _gateway(plane: DataPlane, said: Settings, canaries: Canaries, *, exposed: bool) -> Gateway:
    """What answers over HTTP, as the settings have it."""
    screen = screen_of(said.allowed_hosts, said.allowed_origins, addresses=exposed)
    return Gateway(plane, screen, vertex_routes(os.environ), checked_names(said.metrics_names), canaries)


def _access(platform: Platform, bind: Bind, ports: Ports) -> Access | None:
    """Who may; nobody is asked where only this machine scores."""
    asked = bind.exposed or ports.controlled
    return Access(Tokens(project_home(platform.settings))) if asked else None


def _look_again(keeper: Keeper, tls: Tls | None) -> None:
    """Look for changes of what is served, and of the certificate; one that cannot be used leaves the one before."""
    keeper.hurry()
    try:
        if tls is not None:
            tls.renew()
    except SettingsError as error:
        report(f"the certificate stays as it was: {error}")


def _run(main_task: Coroutine[Any, Any, None]) -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main_task)


if __name__ == "__main__":
    sys.exit(main())
