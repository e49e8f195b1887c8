"""Services port: start, watch and stop long-running processes."""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol


@dataclass(frozen=True)
class ServiceSpec:
    """What to run.

    Attributes:
        name: Unique on this environment (``gateway``).
        command: Argument list, no shell.
        environment: Variables added to the parent's.
        ready_url: Answers 200 once the service is ready.
        ready_within_s: How long to wait for that.
        restart: Whether to start it again when it dies.
        shown: PEM file of a certificate and its key, for a service that asks even for its readiness for one.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    ready_url: str = ""
    ready_within_s: float = 20.0
    restart: bool = True
    shown: Path | None = None


@dataclass(frozen=True)
class ServiceState:
    """How a service is.

    Attributes:
        name: As in its ``ServiceSpec``.
        state: Whether it runs, died, or was stopped or never started.
        pid: Its process id; 0 unless it runs.
        address: Where it answers.
        detail: Running: how often and when it was started again, if ever. Failed: its last words.
        command: What runs; empty unless it does.
    """

    name: str
    state: Literal["running", "failed", "stopped"]
    pid: int = 0
    address: str = ""
    detail: str = ""
    command: tuple[str, ...] = ()


class Services(Protocol):
    """Port: supervised services of an environment."""

    def start(self, spec: ServiceSpec) -> ServiceState:
        """Start it and wait until it is ready; raise ``Unavailable`` with the end of its log if it is not in time."""

    def state(self, name: str) -> ServiceState:
        """How it is now, from the process itself and not from memory."""

    def stop(self, name: str, *, within_s: float = 10.0) -> None:
        """Ask it to end (SIGTERM), wait, then end it; nothing happens when it does not run."""


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
