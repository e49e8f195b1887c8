"""The only place that binds ports to engines: settings say which, entry points say where."""

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from headrace.errors import MissingExtra, UsageError
from headrace.journey.platform import Platform
from headrace.settings import Settings, load_settings

T = TypeVar("T")
GROUP = "headrace.engines"


def open_platform(settings: Settings | None = None) -> Platform:
    """Bind the engines that ``settings`` name (by default: those of the current project) and freeze them.

    Nothing heavy happens here: an engine is imported and opened when its port is first used.
    """
    chosen = load_settings() if settings is None else settings
    home = chosen.home_path
    opened: list[Any] = []

    def port(kind: str, uri: str) -> Callable[[], Any]:
        def open_engine() -> Any:
            engine = factory(f"{kind}.{_scheme(uri)}")(chosen, uri)
            opened.append(engine)
            return engine

        return _once(open_engine)

    def close() -> None:
        while opened:
            closer = getattr(opened.pop(), "close", None)
            if closer is not None:
                closer()

    return Platform(
        settings=chosen,
        home=home,
        ledger=port("ledger", chosen.ledger),
        files=port("files", chosen.store),
        tables=port("tables", chosen.tables),
        stream=port("stream", chosen.stream),
        executor=port("executor", chosen.steps),
        services=port("services", chosen.services),
        sampler=port("sampler", chosen.sampler),
        tracking=_tracking(chosen, port),
        codec=_once_each(lambda name: _codec(chosen, name)),
        runtime=_once_each(lambda name: factory(f"runtime.{name}")(chosen, name)),
        converter=_once_each(lambda name: factory(f"converter.{name}")(chosen, name)),
        close=close,
    )


def factory(name: str) -> Callable[[Settings, str], Any]:
    """The engine factory registered as ``<port>.<name>``; every factory takes the settings and its own URI or name.

    Raises:
        UsageError: No package registers that name.
        MissingExtra: The engine is known but its vendor's package is not installed.
    """
    entry = _entries().get(name)
    if entry is None:
        kind = name.partition(".")[0]
        known = sorted(n.partition(".")[2] for n in _entries() if n.startswith(f"{kind}."))
        raise UsageError(f"no {kind} engine named {name.partition('.')[2]!r}", fix=f"one of {', '.join(known)}")
    try:
        module = importlib.import_module(entry.module)
    except ModuleNotFoundError as error:
        engine = entry.module.split(".")[2] if entry.module.startswith("headrace.") else name
        raise MissingExtra(
            f"engine {engine!r} needs {error.name}", where=name, fix=f"pip install 'headrace[{engine}]'"
        ) from error
    made: Callable[[Settings, str], Any] = getattr(module, entry.attr)
    return made


def known(name: str) -> bool:
    """Whether some installed package registers the engine ``<port>.<name>``."""
    return name in _entries()


@cache
def _entries() -> dict[str, importlib.metadata.EntryPoint]:
    return {e.name: e for e in importlib.metadata.entry_points(group=GROUP)}


def _scheme(uri: str) -> str:
    return uri.partition(":")[0]


def _once(make: Callable[[], T]) -> Callable[[], T]:
    return cache(make)


def _once_each(make: Callable[[str], T]) -> Callable[[str], T]:
    return cache(make)


def _codec(settings: Settings, name: str) -> Any:
    return factory(f"codec.{name}")(settings, name) if known(f"codec.{name}") else None


def _tracking(settings: Settings, port: Callable[[str, str], Callable[[], Any]]) -> Callable[[], Any]:
    if settings.tracking == "off":
        return lambda: None
    if settings.tracking == "auto":
        return port("tracking", "mlflow") if importlib.util.find_spec("mlflow") else lambda: None
    return port("tracking", settings.tracking)


def project_home(settings: Settings) -> Path:
    """The state folder, made when missing and ignored by git."""
    home = settings.home_path
    home.mkdir(parents=True, exist_ok=True)
    ignore = home / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")
    return home
