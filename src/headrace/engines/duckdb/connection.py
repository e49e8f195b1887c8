"""One DuckDB connection per process and project, set up so that results do not depend on the machine's settings."""

import atexit
import gc
import os
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

import duckdb

from headrace.settings import Settings

MEMORY_SHARE = 0.6
"""Of the machine's memory, for all processes together: the main process and each of its workers has a connection of its
own. What does not fit spills to the temporary directory."""

# DuckDB complains on standard error of objects that are left when the process ends: one that has frozen what it holds,
# to end sooner, must let the collector have it back.
atexit.register(gc.unfreeze)

_open: dict[Path, duckdb.DuckDBPyConnection] = {}
_lock = Lock()


def connection(settings: Settings) -> duckdb.DuckDBPyConnection:
    """The process's connection for the project of ``settings``, opened on first use.

    Times with a zone are UTC; intermediate results that outgrow memory go below the project's state folder. Frames of
    one connection can be joined with each other, so all of a process share it; statements that several threads may run
    at once take a cursor of it each.
    """
    with _lock:
        if settings.home_path not in _open:
            _open[settings.home_path] = _connect(settings)
        return _open[settings.home_path]


def close(settings: Settings) -> None:
    """Close the process's connection for this project, if it has one."""
    with _lock:
        connected = _open.pop(settings.home_path, None)
    if connected is not None:
        connected.close()


def memory_steps(settings: Settings) -> Iterator[int]:
    """MiB that the engine may take: what the settings say, and twice as much each time, up to its share of the machine.

    Readers of files must hold some parts whole, however little they are given; everything else spills.
    """
    share = int(_memory() * MEMORY_SHARE / (_threads(settings) + 1)) >> 20
    mib = settings.tables_memory_mb or share
    while mib < share:
        yield mib
        mib *= 2
    yield max(settings.tables_memory_mb, share)


def _threads(settings: Settings) -> int:
    return settings.workers or os.cpu_count() or 1


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _connect(settings: Settings) -> duckdb.DuckDBPyConnection:
    connected = duckdb.connect(
        ":memory:",
        config={
            "threads": _threads(settings),
            "memory_limit": f"{next(memory_steps(settings))}MiB",
            "temp_directory": str(settings.home_path / "cache" / "duckdb"),
            "autoinstall_known_extensions": False,
            # A column of a row group would be held whole; files of other programs have groups of any size.
            "disable_parquet_prefetching": True,
        },
    )
    connected.execute("SET GLOBAL TimeZone = 'UTC'")
    return connected
