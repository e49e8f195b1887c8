"""Versions of installed packages: of those a step imports, and of what they require.

Reads the metadata folders on ``sys.path`` itself: ``importlib.metadata`` would cost every run 40 ms of CPU.
"""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

_FOLDER = re.compile(r"(.+?)-([^-]+)\.(?:dist-info|egg-info)")
_REQUIRED = re.compile(r"^Requires-Dist: ([A-Za-z0-9._-]+)(?:\[([^\]]*)\])?([^\n]*)", re.MULTILINE)
_EXTRA = re.compile(r"extra == ['\"]([^'\"]+)['\"]")

Required = tuple[str, frozenset[str]]
"""A normalised distribution name and the extras that are asked of it."""


def versions(modules: Iterable[str]) -> dict[str, str]:
    """Distribution to version, of the top-level ``modules`` and of all that their distributions require."""
    found: dict[str, str] = {}
    seen: set[Required] = set()
    todo: list[Required] = [(name, frozenset()) for module in modules for name in owners(module)]
    while todo:
        name, extras = todo.pop()
        if (name, extras) not in seen and name in installed():
            seen.add((name, extras))
            found[name], folder = installed()[name]
            todo += required(folder, extras)
    return dict(sorted(found.items()))


@cache
def installed() -> Mapping[str, tuple[str, Path]]:
    """Normalised distribution name to version and metadata folder; the first on the path wins."""
    found: dict[str, tuple[str, Path]] = {}
    for folder in dict.fromkeys(sys.path):
        try:
            names = os.listdir(folder or ".")  # noqa: PTH208 - hot
        except OSError:
            continue
        for name in names:
            match = _FOLDER.fullmatch(name)
            if match:
                found.setdefault(normal(match[1]), (match[2], Path(folder, name)))
    return found


@cache
def owners(module: str) -> tuple[str, ...]:
    """Distributions that install the top-level ``module``: the one of its name, else those that list its files."""
    if normal(module) in installed():
        return (normal(module),)
    marks = (f"\n{module}/".encode(), f"\n{module}.".encode())
    return tuple(name for name, text in _records() if any(mark in text for mark in marks))


@cache
def required(folder: Path, extras: frozenset[str]) -> tuple[Required, ...]:
    """What a distribution requires, with those of its extras that were asked for."""
    try:
        header = (folder / "METADATA").read_text("utf-8").partition("\n\n")[0]
    except OSError:
        return ()
    found = []
    for name, asked, condition in _REQUIRED.findall(header):
        extra = _EXTRA.search(condition)
        if extra is None or normal(extra[1]) in extras:
            found.append((normal(name), frozenset(normal(part.strip()) for part in asked.split(",") if part)))
    return tuple(found)


def normal(name: str) -> str:
    """A distribution's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _records() -> Iterator[tuple[str, bytes]]:
    for name, (_, folder) in installed().items():
        try:
            yield name, b"\n" + (folder / "RECORD").read_bytes()
        except OSError:
            continue
