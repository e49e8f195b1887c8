"""The gateway as a service: which command runs it, and when it is ready."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from headrace.client.credentials import LOOPBACK
from headrace.errors import SettingsError, UsageError
from headrace.placement.bind import CERTIFICATE, Bind, authority, checked_port
from headrace.placement.services import ServiceSpec, ServiceState, free_port
from headrace.settings import shown

GATEWAY = "gateway"
METRICS_NAMES = ("headrace", "tensorflow", "triton")
"""Whose names a gateway's metrics may have: its own, TensorFlow Serving's, Triton's."""

_READY, _LIVE = "/v2/health/ready", "/v2/health/live"
_SCORERS = ("here", "workers")


@dataclass(frozen=True)
class Beside:
    """What a gateway offers beside scoring over HTTP; a port of 0 is a free one, None is none.

    Attributes:
        grpc_port: Scores over gRPC.
        control_port: Loads and unloads, for who has the token.
        control_grpc_port: The same over gRPC.
        models: A folder of models that is watched and served.
        metrics_names: Whose names its metrics have, commas between; None for what the settings say.

    Raises:
        UsageError: There are no such names for metrics, or a port is none.
    """

    grpc_port: int | None = None
    control_port: int | None = None
    control_grpc_port: int | None = None
    models: Path | None = None
    metrics_names: str | None = None

    def __post_init__(self) -> None:
        if self.metrics_names is not None:
            checked_names(self.metrics_names)
        for port in self.ports.values():
            checked_port(port)

    @property
    def ports(self) -> Mapping[str, int]:
        """Option of the gateway's command line to the port asked for."""
        asked = {"--grpc-port": self.grpc_port, "--control-port": self.control_port}
        asked["--control-grpc-port"] = self.control_grpc_port
        return {option: port for option, port in asked.items() if port is not None}

    def options(self, host: str) -> list[str]:
        """As the gateway's command line takes them; free ports are chosen here, so that they can be told."""
        found = [] if self.models is None else ["--models", str(self.models.resolve())]
        found += [] if self.metrics_names is None else ["--metrics-names", self.metrics_names]
        for option, port in self.ports.items():
            found += [option, str(port or free_port(host))]
        return found

    def offered_by(self, command: Sequence[str]) -> bool:
        """Whether a gateway's command offers at least this; a port of 0 is met by any."""
        has = _options(command)
        meets = all(option in has and port in {0, int(has[option])} for option, port in self.ports.items())
        named = self.metrics_names is None or has.get("--metrics-names") == self.metrics_names
        return meets and named and (self.models is None or has.get("--models") == str(self.models.resolve()))


NOTHING = Beside()
"""Scoring over HTTP only."""
HERE = Bind()
"""This machine, at a free port."""


def gateway_spec(
    root: Path,
    endpoints: Sequence[str] = (),
    *,
    bind: Bind = HERE,
    restart: bool = True,
    beside: Beside = NOTHING,
    shown: Path | None = None,
) -> ServiceSpec:
    """How to run the gateway of the project at ``root``.

    Args:
        root: The project folder.
        endpoints: Serve only these; empty for all that are deployed.
        bind: Where it listens.
        restart: Whether it is started again when it dies.
        beside: What it offers besides.
        shown: PEM file of a certificate and its key that commands show it.

    Raises:
        SettingsError: It takes callers with a certificate only, and commands have none.
        UsageError: Two of its ports are one.
    """
    _check_distinct({"--port": bind.port, **beside.ports})
    if bind.client_ca is not None and shown is None:
        raise SettingsError(
            "commands could not reach the gateway",
            why=f"it takes callers with a certificate of {bind.client_ca} only",
            fix="client_certificate = a PEM file of such a certificate and its key",
        )
    chosen = bind.port or free_port(bind.host)
    command = [sys.executable, "-m", "headrace.gateway", "--root", str(root)]
    command += ["--host", bind.host, "--port", str(chosen), *bind.options]
    for endpoint in endpoints:
        command += ["--endpoint", endpoint]
    command += beside.options(bind.host)
    ready_url = f"{bind.scheme}://{authority(bind.reached_at, chosen)}{_READY}"
    return ServiceSpec(GATEWAY, command, ready_url=ready_url, restart=restart, shown=shown)


def once_it_listens(spec: ServiceSpec) -> ServiceSpec:
    """The same gateway, started as soon as it lives: whoever starts it waits for its models, however long they take."""
    return replace(spec, ready_url=spec.ready_url.removesuffix(_READY) + _LIVE)


def checked_names(said: str) -> tuple[str, ...]:
    """Whose names metrics have, each once, from ``headrace,triton``; raise ``UsageError`` for names of nobody's."""
    names = tuple(dict.fromkeys(name.strip() for name in said.split(",")))
    for name in names:
        if name not in METRICS_NAMES:
            raise UsageError(
                f"metrics have no names {name!r}",
                where=f"metrics_names = {said!r}",
                fix=f"one or more of {','.join(METRICS_NAMES)}",
            )
    return names


def elsewhere(gateway: str) -> bool:
    """Whether the setting ``gateway`` is the URL of one on another host, and not the name of one here."""
    return "://" in gateway


def checked_own(gateway: str) -> str:
    """The name of a gateway of this machine; raise ``UsageError`` for one elsewhere, which is not started from here."""
    if elsewhere(gateway):
        raise UsageError(
            f"{shown(gateway)} is not started or stopped from here",
            where="the setting gateway",
            fix="run this on its host, or say --name of a gateway of this one",
        )
    return gateway


def in_workers(said: str) -> bool:
    """Whether the setting ``scorers`` has workers score; raise ``SettingsError`` when it says neither of two things."""
    if said not in _SCORERS:
        raise SettingsError(f"scorers is {said!r}", fix=f"one of {', '.join(_SCORERS)}")
    return said == "workers"


def addresses(command: Sequence[str]) -> dict[str, str]:
    """What the gateway that this command runs offers beside scoring over HTTP, and where."""
    options = _options(command)
    host, scheme = options.get("--host", ""), "https" if CERTIFICATE in options else "http"
    named = {"grpc": "--grpc-port", "control": "--control-port", "control_grpc": "--control-grpc-port"}
    found = {name: authority(host, options[option]) for name, option in named.items() if option in options}
    return {name: f"{scheme}://{address}" if name == "control" else address for name, address in found.items()}


def certificate_of(command: Sequence[str]) -> Path | None:
    """The certificate that the gateway which this command runs shows; None for one that speaks unencrypted."""
    found = _options(command).get(CERTIFICATE)
    return None if found is None else Path(found)


def asks_for_tokens(command: Sequence[str]) -> bool:
    """Whether the gateway that this command runs has who scores send a token."""
    return _options(command).get("--host", "") not in LOOPBACK


def check_same(
    running: ServiceState,
    endpoints: Sequence[str],
    asked: Mapping[str, str],
    beside: Beside = NOTHING,
    *,
    detach: bool = True,
) -> None:
    """Raise ``UsageError`` unless the gateway that runs is the one that is asked for.

    Args:
        running: State of the gateway.
        endpoints: What it is to serve; empty for all that are deployed.
        asked: Options of its command line that it must have, with their values.
        beside: What it is to offer besides.
        detach: Whether who asks leaves it running; one that runs is not ended by another command's Ctrl-C.
    """
    options = list(pairwise(running.command))
    served = {value for option, value in options if option == "--endpoint"}
    fits = all(pair in options for pair in asked.items())
    if detach and served == set(endpoints) and fits and beside.offered_by(running.command):
        return
    named = f" --name {running.name}" * (running.name != GATEWAY)
    raise UsageError(
        f"already serving {', '.join(sorted(served)) or 'all endpoints'} on {running.address}",
        fix=f"headrace serving run{named} --stop first, or --name ANOTHER --port 0 to serve beside it",
    )


def _check_distinct(ports: Mapping[str, int]) -> None:
    first: dict[int, str] = {}
    for option, port in ports.items():
        if port and port in first:
            raise UsageError(f"{first[port]} and {option} are both {port}", fix=f"{option} 0 for a free one")
        first[port] = option


def _options(command: Sequence[str]) -> dict[str, str]:
    return dict(pairwise(command))
