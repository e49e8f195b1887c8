"""How commands speak: results to stdout, everything else to stderr; JSON and quiet; colour only on a terminal."""

import os
import re
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import Any, ClassVar, Protocol

import click

from headrace.errors import HeadraceError

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class Told(Protocol):
    """Hears how far something is."""

    def __call__(self, done: int, total: int = ...) -> None:
        """So many are done, of so many; a total of 0 is not known."""


class Output:
    """Where a command's words go.

    Attributes:
        json: Print results as one JSON object.
        quiet: Print results only.
    """

    _current: ClassVar["Output | None"] = None

    def __init__(self, *, json: bool = False, quiet: bool = False) -> None:
        self.json, self.quiet = json, quiet
        Output._current = self

    @classmethod
    def current(cls) -> "Output":
        """The running command's output (a plain one before any command runs)."""
        return cls._current or cls()

    def result(self, value: Any, lines: Iterable[str] = (), *, own: bool = False) -> None:
        """The command's result: ``value`` under ``--json``, else ``lines``.

        Args:
            value: What becomes JSON.
            lines: Text for people; what would steer their terminal is escaped, but line breaks and tabs.
            own: Whether the lines may steer it: they are coloured, or what the project's own code printed.
        """
        if self.json:
            import msgspec

            sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
            return
        for line in lines:
            sys.stdout.write((line if own else tame(line, keep="\n\t")) + "\n")

    def table(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
        """Rows as an aligned table, or as a JSON list."""
        self.result([dict(r) for r in rows], aligned(rows, columns))

    def say(self, text: str = "") -> None:
        """Progress, for people; nothing under ``-q``."""
        if not self.quiet:
            click.echo(text, err=True)

    def progress(self, label: str, total: int = 0, *, about: bool = False) -> AbstractContextManager[Told]:
        """A bar on a terminal, a line every few seconds elsewhere; call what the block gets with the number done.

        Its clock starts with the first call, which may be of nothing done.

        Args:
            label: What is counted.
            total: How many there are; 0 is not known, or is said with each call.
            about: Whether the total is an estimate.
        """
        return _progress(label, total, about=about, quiet=self.quiet)

    def error(self, error: HeadraceError) -> None:
        """An error with its code; JSON on stderr under ``--json``."""
        parts = {"what": error.what, "where": error.where, "why": error.why, "fix": error.fix}
        self.failure(error.code, str(error), parts)

    def failure(self, code: str, text: str, parts: Mapping[str, str]) -> None:
        """What went wrong, under ``-q`` too: ``error [code] text``; under ``--json`` its ``parts``, as JSON."""
        if self.json:
            import msgspec

            click.echo(msgspec.json.encode({"error": {"code": code, **parts}}).decode(), err=True)
            return
        label = click.style("error", fg="red", bold=True) if colourful() else "error"
        click.echo(f"{label} [{code}] {tame(text, keep=chr(10))}", err=True)


def tame(text: str, keep: str = "") -> str:
    """Text of data and callers with what would steer a terminal (controls, writing direction) as escapes.

    Args:
        text: What is to be shown.
        keep: Controls that stay.
    """
    return _CONTROLS.sub(lambda found: found[0] if found[0] in keep else ascii(found[0])[1:-1], text)


def colourful(stream: Any = None) -> bool:
    """Whether to colour and animate on ``stream`` (stderr by default): a terminal, and NO_COLOR unset."""
    return not os.environ.get("NO_COLOR") and (stream or sys.stderr).isatty()


def aligned(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    """Lines of a left-aligned table with a header; numbers to the right."""
    cells = [[_cell(row.get(c)) for c in columns] for row in rows]
    widths = [max([len(c), *(len(r[i]) for r in cells)]) for i, c in enumerate(columns)]
    right = [bool(rows) and all(isinstance(r.get(c), int | float) for r in rows) for c in columns]

    def line(values: Sequence[str]) -> str:
        padded = [v.rjust(w) if r else v.ljust(w) for v, w, r in zip(values, widths, right, strict=True)]
        return "  ".join(padded).rstrip()

    return [line([c.upper().replace("_", " ") for c in columns]), *(line(r) for r in cells)]


def fitted(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    """The same in the width of the terminal, the widest cells broken into lines; elsewhere as wide as it comes."""
    whole, room = aligned(rows, columns), _room()
    if room is None or max(map(len, whole)) <= room:
        return whole
    texts = [{c: _cell(row.get(c)) for c in columns} for row in rows]
    widths = {c: max(len(c), *(len(text[c]) for text in texts)) for c in columns}
    least = {c: len(c) for c in columns}
    over = sum(widths.values()) + 2 * (len(columns) - 1) - room
    for _ in range(over):
        widest = max(columns, key=lambda c: widths[c] - least[c])
        widths[widest] -= widths[widest] > least[widest]
    broken = [_broken(row, text, widths) for row, text in zip(rows, texts, strict=True)]
    return aligned([line for lines in broken for line in lines], columns)


def folded(rows: Sequence[Mapping[str, Any]], which: Sequence[str], *parts: Sequence[str]) -> list[str]:
    """One table of all columns where the terminal has the width, else one a part, each ``fitted``.

    Args:
        rows: One mapping of columns to cells a row.
        which: Columns that say which row it is; each table begins with them.
        parts: The others.
    """
    whole, room = aligned(rows, [*which, *(column for part in parts for column in part)]), _room()
    if room is None or max(map(len, whole)) <= room:
        return whole
    tables = [fitted(rows, [*which, *part]) for part in parts]
    return [*tables[0], *(line for table in tables[1:] for line in ("", *table))]


def _room() -> int | None:
    """Characters of a line; None where nobody looks at them."""
    return shutil.get_terminal_size().columns - 1 if sys.stdout.isatty() else None


def _broken(row: Mapping[str, Any], text: Mapping[str, str], widths: Mapping[str, int]) -> list[dict[str, Any]]:
    """A row as so many rows as its highest cell has lines."""
    cells = {c: textwrap.wrap(text[c], width, break_on_hyphens=False) for c, width in widths.items()}
    high = max(1, *map(len, cells.values()))
    first = {c: row.get(c) if len(lines) <= 1 else lines[0] for c, lines in cells.items()}
    return [first, *({c: lines[at] if at < len(lines) else "" for c, lines in cells.items()} for at in range(1, high))]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else tame(str(value))


def options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--json`` and ``-q`` and pass it its ``Output`` as first argument."""

    @click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
    @click.option("-q", "--quiet", is_flag=True, help="Print the result only.")
    @wraps(function)
    def command(*args: Any, as_json: bool, quiet: bool, **kwargs: Any) -> Any:
        return function(Output(json=as_json, quiet=quiet), *args, **kwargs)

    return command


_BAR, _LEAST_BAR = 30, 8
_LINE_EVERY_S = 5.0
_UNITS, _SOME = (("h", 3600), ("min", 60), ("s", 1)), 3
"""A time is told in the largest unit of which it has so many."""


@contextmanager
def _progress(label: str, total: int, *, about: bool, quiet: bool) -> Iterator[Told]:
    begun: tuple[float, int] | None = None
    said = 0.0
    alive = sys.stderr.isatty()

    def to(done: int, total: int = total) -> None:
        nonlocal begun, said
        now = time.monotonic()
        if begun is None:
            begun, said = (now, done), now
        if quiet or not done or (not alive and now - said < _LINE_EVERY_S):
            return
        said = now
        text = f"  {label} {_extent(done, total, about=about)}{_pace(done, total, now - begun[0], done - begun[1])}"
        click.echo(f"\r\x1b[2K{text}{_bar(done, total, len(text))}" if alive else text, err=True, nl=not alive)

    yield to
    if alive and not quiet:
        click.echo("\r\x1b[2K", err=True, nl=False)


def _extent(done: int, total: int, *, about: bool) -> str:
    return f"{done:,} of {'about ' * about}{total:,}" if total else f"{done:,}"


def _pace(done: int, total: int, took_s: float, counted: int) -> str:
    """How many a second, and how long the rest will take at that."""
    if took_s <= 0 or not counted:
        return ""
    rate = counted / took_s
    left_s = max(total - done, 0) / rate
    unit, seconds = next(((u, s) for u, s in _UNITS if left_s >= _SOME * s), _UNITS[-1])
    return f", {rate:,.0f} a second" + (f", {left_s / seconds:,.0f} {unit} left" if total else "")


def _bar(done: int, total: int, taken: int) -> str:
    """A bar in what is left of the line; a line that is broken in two is not drawn over."""
    room = min(_BAR, shutil.get_terminal_size().columns - taken - len(" []") - 1)
    if not total or room < _LEAST_BAR:
        return ""
    return f" [{'#' * min(room * done // total, room):<{room}}]"
