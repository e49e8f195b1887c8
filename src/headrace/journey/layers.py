"""Which engine fulfils each port here, in which version, and where that was chosen."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

from headrace.settings import Settings


@dataclass(frozen=True)
class Layer:
    """One port and its engine.

    Attributes:
        room: Whose port it is.
        port: Its name.
        engine: The scheme of the setting: ``duckdb``.
        version: Of the packages that the engine's extra installs.
        origin: Where the setting comes from.
    """

    room: str
    port: str
    engine: str
    version: str
    origin: str


PORTS: Mapping[str, tuple[str, str]] = {
    "ledger": ("storage", "ledger"),
    "files": ("storage", "store"),
    "tables": ("storage", "tables"),
    "stream": ("storage", "stream"),
    "online": ("features", "online"),
    "services": ("placement", "services"),
    "executor": ("pipelines", "steps"),
    "sampler": ("tuning", "sampler"),
    "tracking": ("training", "tracking"),
}
"""Port to its room and the setting that chooses its engine."""

BY_KIND: Mapping[str, tuple[str, str, str]] = {
    "converter": ("optimization", "sklearn", "the model's class"),
    "runtime": ("models", "onnxruntime", "the model's format"),
}
"""Ports whose engine follows from what it is given: room, built-in engine, and what decides."""

_NAMED: Mapping[str, str] = {"auto": "mlflow", "postgresql": "postgres"}
"""What settings begin with, where that is not the engine's name."""


def chosen(settings: Settings, port: str) -> str:
    """The engine that fulfils ``port``; its built-in one where no setting chooses."""
    if port in BY_KIND:
        return BY_KIND[port][1]
    engine = str(getattr(settings, PORTS[port][1])).partition(":")[0]
    return _NAMED.get(engine, engine)


def layers(settings: Settings) -> list[Layer]:
    """Every port with its engine, in the order of the rooms."""
    found = []
    for port, (room, setting) in PORTS.items():
        engine = chosen(settings, port)
        found.append(Layer(room, port, engine, version_of(engine), settings.origins.get(setting, "default")))
    found += [Layer(room, port, engine, version_of(engine), by) for port, (room, engine, by) in BY_KIND.items()]
    return found


def version_of(engine: str) -> str:
    """Versions of what the engine's extra installs (``duckdb 2.0.0``); headrace's own where it installs nothing."""
    extra = re.compile(rf"extra == ['\"]{re.escape(engine)}['\"]")
    names = [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in requires("headrace") or () if extra.search(line)]
    own = f"headrace {version('headrace')}"
    return ", ".join(_installed(name) for name in dict.fromkeys(names) if name != "headrace") or own


def _installed(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} not installed"
