"""The gateway as a service: which command runs it, and when it is ready."""

import sys
from collections.abc import Sequence
from pathlib import Path

from headrace.errors import UsageError
from headrace.placement.services import ServiceSpec, ServiceState, free_port

GATEWAY = "gateway"
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def gateway_spec(
    root: Path, endpoints: Sequence[str] = (), *, host: str = "127.0.0.1", port: int = 0, restart: bool = True
) -> ServiceSpec:
    """How to run the gateway of the project at ``root``.

    Args:
        root: The project folder.
        endpoints: Serve only these; empty for all that are deployed.
        host: Loopback address to bind.
        port: 0 for a free one.
        restart: Whether it is started again when it dies.

    Raises:
        UsageError: The host is not this machine alone.
    """
    checked_host(host)
    chosen = port or free_port(host)
    command = [sys.executable, "-m", "headrace.gateway", "--root", str(root), "--host", host, "--port", str(chosen)]
    for endpoint in endpoints:
        command += ["--endpoint", endpoint]
    return ServiceSpec(GATEWAY, command, ready_url=f"http://{host}:{chosen}/v2/health/ready", restart=restart)


def checked_host(host: str) -> str:
    """A loopback address; raise ``UsageError`` for any other."""
    if host not in _LOOPBACK:
        raise UsageError(
            f"host {host!r} is refused", why="the scoring port takes no token, so it is local", fix="--host 127.0.0.1"
        )
    return host


def check_same(running: ServiceState, endpoints: Sequence[str], *, port: int | None, host: str | None) -> None:
    """Raise ``UsageError`` unless the gateway that runs is the one that is asked for.

    Args:
        running: State of the gateway.
        endpoints: What it is to serve; empty for all that are deployed.
        port: Where; None and 0 for anywhere.
        host: Likewise; None for any.
    """
    options = list(zip(running.command, running.command[1:], strict=False))
    served = {value for option, value in options if option == "--endpoint"}
    asked = {"--port": str(port or ""), "--host": host or ""}
    if served == set(endpoints) and all(not value or (option, value) in options for option, value in asked.items()):
        return
    raise UsageError(
        f"already serving {', '.join(sorted(served)) or 'all endpoints'} on {running.address}",
        fix="headrace serving run --stop first",
    )
