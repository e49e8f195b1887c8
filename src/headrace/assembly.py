"""The only place that binds ports to engines: settings say which, entry points say where."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from headrace.errors import MissingExtra, SettingsError, UsageError
from headrace.journey.platform import Platform
from headrace.settings import Settings, load_settings
from headrace.storage.durable import make_folders

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
            project_home(chosen)
            engine = factory(f"{kind}.{_scheme(uri)}")(chosen, uri)
            opened.append(engine)
            return engine

        return _once(open_engine)

    def close() -> None:
        while opened:
            closer = getattr(opened.pop(), "close", None)
            if closer is not None:
                closer()

    tables = port("tables", chosen.tables)
    return Platform(
        settings=chosen,
        home=home,
        ledger=port("ledger", chosen.ledger),
        files=port("files", chosen.store),
        tables=tables,
        stream=port("stream", chosen.stream),
        online=port("online", chosen.online),
        exchange=_exchange(chosen, port),
        executor=port("executor", chosen.steps),
        services=port("services", chosen.services),
        sampler=port("sampler", chosen.sampler),
        tracking=_tracking(chosen, port),
        codec=_once_each(lambda name: _codec(chosen, tables, name)),
        runtime=_once_each(lambda name: factory(f"runtime.{name}")(chosen, name)),
        converter=_once_each(lambda name: factory(f"converter.{name}")(chosen, name)),
        close=close,
    )


def factory(name: str) -> Callable[..., Any]:
    """The engine factory registered as ``<port>.<name>``.

    Every factory takes the settings and its own URI or name; a codec's takes the settings and the opener of Tables.

    Raises:
        UsageError: No package registers that name.
        MissingExtra: The engine is known but its vendor's package is not installed.
    """
    target = _entries().get(name)
    if target is None:
        kind = name.partition(".")[0]
        known = sorted(n.partition(".")[2] for n in _entries() if n.startswith(f"{kind}."))
        raise UsageError(f"no {kind} engine named {name.partition('.')[2]!r}", fix=f"one of {', '.join(known)}")
    module_name, _, attribute = target.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("headrace."):
            raise
        engine = module_name.split(".")[2] if module_name.startswith("headrace.") else name
        raise MissingExtra(
            f"engine {engine!r} needs {error.name}", where=name, fix=f"pip install 'headrace[{engine}]'"
        ) from error
    made: Callable[..., Any] = getattr(module, attribute)
    return made


def known(name: str) -> bool:
    """Whether some installed package registers the engine ``<port>.<name>``."""
    return name in _entries()


@cache
def _entries() -> dict[str, str]:
    """Engine name to ``module:factory``, of every distribution on the path; the first on the path wins.

    Reads the files that ``importlib.metadata`` would: importing that costs every command 40 ms of CPU.
    """
    found: dict[str, str] = {}
    for text in _entry_point_files():
        lines = text.partition(f"[{GROUP}]")[2].partition("\n[")[0].splitlines()
        for name, _, target in (line.partition("=") for line in lines):
            if target:
                found.setdefault(name.strip(), target.partition("[")[0].strip())
    return found


def _entry_point_files() -> Iterator[str]:
    for folder in dict.fromkeys(sys.path):
        try:
            names = os.listdir(folder or ".")  # noqa: PTH208 - hot
        except OSError:
            continue
        for name in names:
            if name.endswith((".dist-info", ".egg-info")):
                try:
                    text = Path(folder, name, "entry_points.txt").read_text("utf-8")
                except OSError:
                    continue
                if f"[{GROUP}]" in text:
                    yield text


def _scheme(uri: str) -> str:
    return uri.partition(":")[0]


def _once(make: Callable[[], T]) -> Callable[[], T]:
    return cache(make)


def _once_each(make: Callable[[str], T]) -> Callable[[str], T]:
    return cache(make)


def _codec(settings: Settings, tables: Callable[[], Any], name: str) -> Any:
    if not known(f"codec.{name}"):
        return None
    try:
        return factory(f"codec.{name}")(settings, tables)
    except MissingExtra:
        return None


def _tracking(settings: Settings, port: Callable[[str, str], Callable[[], Any]]) -> Callable[[], Any]:
    if settings.tracking == "off":
        return lambda: None
    if settings.tracking == "auto":
        return port("tracking", "mlflow") if importlib.util.find_spec("mlflow") else lambda: None
    return port("tracking", settings.tracking)


def _exchange(settings: Settings, port: Callable[[str, str], Callable[[], Any]]) -> Callable[[], Any]:
    if known(f"exchange.{_scheme(settings.stream)}"):
        return port("exchange", settings.stream)

    def refuse() -> Any:
        raise SettingsError(
            f"stream = {settings.stream!r} carries nothing between processes", where="scorers",
            why="front doors and workers meet on it", fix='stream = "kafka://broker:9092"',
        )  # fmt: skip

    return refuse


def project_home(settings: Settings) -> Path:
    """The state folder, made when missing and ignored by git.

    Raises:
        SettingsError: It cannot be made.
    """
    home = settings.home_path
    try:
        make_folders(home)
        ignore = home / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
    except OSError as error:
        stands = isinstance(error, FileExistsError | NotADirectoryError)
        first = f"move {error.filename} away" if stands else f"check who may write {home.parent}"
        fix = f"{first}, or set HEADRACE_HOME to a folder that can be made"
        why = error.strerror or str(error)
        raise SettingsError("the state folder cannot be made", where=str(home), why=why, fix=fix) from error
    return home
