"""What the demo's chapters share: where they speak, what they work on, and the report they add to."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.output import Output, aligned, colourful

if TYPE_CHECKING:
    from headrace.journey.platform import Platform


class Story:
    """The demo as it is told.

    Attributes:
        out: Where it speaks.
        platform: What it works on.
        every: One in so many flights is sent as a request.
        begun: Monotonic seconds at the start.
        report: What ``--json`` prints; every chapter adds to it.
    """

    def __init__(self, out: Output, platform: "Platform", every: int) -> None:
        self.out, self.platform, self.every = out, platform, every
        self.begun = time.perf_counter()
        self.report: dict[str, Any] = {"steps": []}

    def say(self, text: str) -> None:
        """A line below the chapter's heading."""
        self.out.say(f"  {text}")

    def table(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
        """Rows below the chapter's heading."""
        for line in aligned(rows, columns):
            self.say(line)

    def chapter(self, title: str, tell: Callable[..., Any], *args: Any) -> Any:
        """Tell a chapter under its heading, and how long it took."""
        self.out.say()
        self.out.say(click.style(title, bold=True) if colourful() else title)
        begun = time.perf_counter()
        value = tell(*args)
        self.say(f"({time.perf_counter() - begun:.1f} s)")
        return value
