"""What a server says to whoever runs it: lines on standard error, which may lie on a disk that is full."""

import contextlib
import sys

from headrace.errors import HeadraceError


def report(text: str) -> None:
    """Write a line; where that fails the line is lost, and nothing else."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(text if text.endswith("\n") else f"{text}\n")


def in_words(error: Exception) -> str:
    """An error of ours as it says itself, another with its type."""
    return str(error) if isinstance(error, HeadraceError) else f"{type(error).__name__}: {error}"
