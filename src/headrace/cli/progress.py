"""Progress of a run on stderr: one line a step, and on a terminal what is running now."""

import os
import sys
from collections.abc import Mapping
from typing import Any, TextIO

import click

from headrace.cli.output import colourful

KEY_SHOWN = 8
_COLOURS = {"done": "green", "cached": "cyan", "failed": "red", "refused": "red", "skipped": "yellow"}
_CLEAR = "\r\x1b[2K"


class Progress:
    """Hears a run and prints it; see ``pipelines.ports.RunListener``."""

    def __init__(self) -> None:
        self._out = _own_stderr()
        self._live = colourful(self._out)
        self._running: list[str] = []

    def on(self, event: str, facts: Mapping[str, Any]) -> None:
        """Print what happened."""
        if event == "run.started":
            self._line(f"{facts['pipeline']}: {facts['steps']} steps, run {facts['run']}")
        elif event == "step.started":
            self._running.append(facts["name"])
            self._status()
        elif event in {"step.finished", "step.failed"}:
            if facts["name"] in self._running:
                self._running.remove(facts["name"])
            self._line(self._step(facts))

    def _step(self, facts: Mapping[str, Any]) -> str:
        state = f"{facts['state']:<8}"
        shown = click.style(state, fg=_COLOURS[facts["state"]]) if self._live else state
        return f"  {facts['name']:<24} {shown} {_duration(facts):>14}  {facts['key'][:KEY_SHOWN]}{_detail(facts)}"

    def _line(self, text: str) -> None:
        self._out.write((_CLEAR if self._live else "") + text.rstrip() + "\n")
        self._status()

    def _status(self) -> None:
        if self._live and self._running:
            self._out.write(f"{_CLEAR}  … {', '.join(self._running)}")
        self._out.flush()


def _detail(facts: Mapping[str, Any]) -> str:
    """How many rows; of an error its first line, for the run ends with the whole."""
    if facts.get("error"):
        return f"\n      {str(facts['error']).partition(chr(10))[0].strip()}"
    rows = facts.get("about", {}).get("rows")
    return f"  {rows:,} rows" if rows is not None else ""


def _duration(facts: Mapping[str, Any]) -> str:
    """``0.12 s``; of a cached step what it took when it was made, and so what was saved."""
    if facts["state"] == "skipped":
        return ""
    return f"{'saved ' if facts['state'] == 'cached' else ''}{facts['seconds']:.2f} s"


def _own_stderr() -> TextIO:
    """A copy of stderr that stays the terminal's while a step's output is captured."""
    try:
        return os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return sys.stderr
