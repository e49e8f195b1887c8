"""How commands speak: results to stdout, everything else to stderr; JSON and quiet; colour only on a terminal."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import wraps
from typing import Any, ClassVar

import click

from headrace.errors import HeadraceError


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

    def result(self, value: Any, lines: Iterable[str] = ()) -> None:
        """The command's result: ``value`` under ``--json``, else ``lines``."""
        if self.json:
            import msgspec

            sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
            return
        for line in lines:
            sys.stdout.write(line + "\n")

    def table(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
        """Rows as an aligned table, or as a JSON list."""
        self.result([dict(r) for r in rows], aligned(rows, columns))

    def say(self, text: str = "") -> None:
        """Progress, for people; nothing under ``-q``."""
        if not self.quiet:
            click.echo(text, err=True)

    def progress(self, label: str, total: int = 0) -> AbstractContextManager[Callable[[int], None]]:
        """A bar on a terminal, a line every few seconds elsewhere; call what the block gets with the number done.

        A total of 0 is not known.
        """
        return _progress(label, total, quiet=self.quiet)

    @contextmanager
    def counting(self, label: str) -> Iterator[Callable[[int, int], None]]:
        """The same for work whose extent is known once it runs: call what the block gets with done and total."""
        with ExitStack() as open_bar:
            bars: dict[int, Callable[[int], None]] = {}

            def to(done: int, total: int) -> None:
                if total not in bars:
                    bars[total] = open_bar.enter_context(self.progress(label, total))
                bars[total](done)

            yield to

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
        click.echo(f"{label} [{code}] {text}", err=True)


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


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--json`` and ``-q`` and pass it its ``Output`` as first argument."""

    @click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
    @click.option("-q", "--quiet", is_flag=True, help="Print the result only.")
    @wraps(function)
    def command(*args: Any, as_json: bool, quiet: bool, **kwargs: Any) -> Any:
        return function(Output(json=as_json, quiet=quiet), *args, **kwargs)

    return command


_BAR = 30
_LINE_EVERY_S = 5.0


@contextmanager
def _progress(label: str, total: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    started = said = time.monotonic()
    alive = sys.stderr.isatty()

    def to(done: int) -> None:
        nonlocal said
        now = time.monotonic()
        if quiet or (not alive and now - said < _LINE_EVERY_S):
            return
        said = now
        rate = done / max(now - started, 1e-9)
        text = f"  {label} {done:,}{f' of {total:,}' if total else ''}, {rate:,.0f} a second"
        bar = f" [{'#' * (_BAR * done // total):<{_BAR}}]" if total else ""
        click.echo(f"\r{text}{bar}" if alive else text, err=True, nl=not alive)

    yield to
    if alive and not quiet:
        click.echo("\r\x1b[2K", err=True, nl=False)
