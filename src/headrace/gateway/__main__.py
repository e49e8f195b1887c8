"""``python -m headrace.gateway --root PROJECT [--endpoint NAME ...] [--host 127.0.0.1] [--port 8700]``."""

import argparse
import asyncio
import gc
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.assembly import open_platform
from headrace.errors import HeadraceError, MissingExtra, Unavailable
from headrace.gateway.app import Gateway
from headrace.gateway.http import Server
from headrace.gateway.vertex import vertex_routes
from headrace.journey.platform import Platform
from headrace.placement.gateway import checked_host
from headrace.serving.dataplane import DataPlane
from headrace.serving.keeper import Keeper
from headrace.serving.ledger_source import LedgerSource
from headrace.settings import load_settings

if TYPE_CHECKING:
    from headrace.gateway.rpc.server import RpcServer

# How long the writer thread may wait for the interpreter while the event loop computes.
_SWITCH_S = 0.0002
_COLLECT_EVERY = 20_000


async def serve(
    platform: Platform, names: Sequence[str], *, host: str, port: int, grpc_port: int | None = None
) -> None:
    """Serve until SIGTERM or SIGINT; then finish what was accepted, and flush the log."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    plane = DataPlane(platform.stream(), loop, names)

    def moved(model: str, alias: str, version: int) -> None:
        loop.call_soon_threadsafe(plane.move, model, alias, version)

    source = LedgerSource(
        ledger=platform.ledger(),
        files=platform.files(),
        runtime=platform.runtime,
        moved=moved,
        names=names,
    )
    keeper = Keeper(plane, (source,), post=loop.call_soon_threadsafe)
    server = Server(Gateway(plane, vertex=vertex_routes(os.environ)), loop)
    try:
        bound = await server.listen(host, port)
    except OSError as error:
        raise Unavailable(
            "the gateway cannot listen", where=f"{host}:{port}", why=error.strerror or str(error), fix="--port 0"
        ) from error
    rpc = None if grpc_port is None else _rpc_server(plane)
    if rpc is not None and grpc_port is not None:
        sys.stdout.write(f"gateway listens for gRPC on {host}:{await rpc.listen(host, grpc_port)}\n")
    keeper.start()
    sys.stdout.write(f"gateway listens on http://{host}:{bound}\n")
    sys.stdout.flush()
    await stopped.wait()
    keeper.stop()
    server.stop_accepting()
    if rpc is not None:
        await rpc.close()
    await plane.close()
    server.close()
    await asyncio.sleep(0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and serve; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m headrace.gateway", description="Serve deployed endpoints.")
    parser.add_argument("--root", type=Path, required=True, help="the project folder")
    parser.add_argument("--endpoint", action="append", default=[], help="only this one; may be repeated")
    parser.add_argument("--host", default=None)
    parser.add_argument("--port", type=int, default=None)
    parser.add_argument("--grpc-port", type=int, default=None, help="answer gRPC there as well; 0 for a free port")
    given = parser.parse_args(arguments)
    try:
        settings = load_settings(given.root.resolve(), {"host": given.host, "port": given.port})
        checked_host(settings.host)
        sys.setswitchinterval(_SWITCH_S)
        gc.freeze()  # what start-up made stays: the collector need not look at it between requests
        gc.set_threshold(_COLLECT_EVERY, 50, 100)
        platform = open_platform(settings)
        try:
            _run(serve(platform, given.endpoint, host=settings.host, port=settings.port, grpc_port=given.grpc_port))
        finally:
            platform.close()
    except HeadraceError as error:
        sys.stderr.write(f"error [{error.code}] {error}\n")
        return error.exit_code
    return 0


def _rpc_server(plane: DataPlane) -> "RpcServer":
    try:
        from headrace.gateway.rpc.server import RpcServer
    except ImportError as error:
        raise MissingExtra("gRPC is not installed", why=str(error), fix="pip install 'headrace[grpc]'") from error
    return RpcServer(plane)


def _run(main_task: Coroutine[Any, Any, None]) -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main_task)


if __name__ == "__main__":
    sys.exit(main())
