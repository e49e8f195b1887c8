"""Logs: everything a step prints, its libraries print and it logs, in one file a step, also in the main process."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

_OUT, _ERR = 1, 2


@contextmanager
def captured(path: Path) -> Iterator[TextIO]:
    """Send the process's stdout, stderr (the file descriptors: C libraries too) and logging to ``path`` for a while."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _flush()
    with path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1) as log:
        kept = [(number, _duplicate(number)) for number in (_OUT, _ERR)]
        streams = sys.stdout, sys.stderr
        try:
            for number, _ in kept:
                os.dup2(log.fileno(), number)
            sys.stdout = sys.stderr = log
            with _logging_to(log):
                yield log
        finally:
            sys.stdout, sys.stderr = streams
            _flush()
            log.flush()
            for number, copy in kept:
                _restore(number, copy)


def _duplicate(number: int) -> int | None:
    try:
        return os.dup(number)
    except OSError:  # closed: a daemon without a terminal
        return None


def _restore(number: int, copy: int | None) -> None:
    if copy is None:
        os.close(number)
    else:
        os.dup2(copy, number)
        os.close(copy)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()


@contextmanager
def _logging_to(log: TextIO) -> Iterator[None]:
    """A handler on the root logger, when logging is in use and nobody configured it."""
    logging: Any = sys.modules.get("logging")
    if logging is None or logging.root.handlers:
        yield
        return
    handler = logging.StreamHandler(log)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    level = logging.root.level
    logging.root.addHandler(handler)
    logging.root.setLevel(min(level, logging.INFO))
    try:
        yield
    finally:
        logging.root.removeHandler(handler)
        logging.root.setLevel(level)
