"""The gateway as a service: which command runs it, and when it is ready."""

import sys
from collections.abc import Sequence
from pathlib import Path

from headrace.placement.services import ServiceSpec, free_port

GATEWAY = "gateway"


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
    """
    chosen = port or free_port(host)
    command = [sys.executable, "-m", "headrace.gateway", "--root", str(root), "--host", host, "--port", str(chosen)]
    for endpoint in endpoints:
        command += ["--endpoint", endpoint]
    return ServiceSpec(GATEWAY, command, ready_url=f"http://{host}:{chosen}/v2/health/ready", restart=restart)
