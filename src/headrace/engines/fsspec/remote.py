"""What a kind of store has to do; the rest, the local copies among it, is the same for all kinds."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Stat:
    """One version of an object, as its store tells it.

    Attributes:
        tag: Differs where the content does.
        size: Of the content, in bytes.
        sha256: Of the content, hexadecimal; empty when whoever put it did not say.
    """

    tag: str
    size: int
    sha256: str = ""


class Changed(Exception):
    """The object is no more the version that was asked for."""


class Remote(Protocol):
    """A store. What it raises is of ``headrace.errors``; every call ends in bounded time.

    Raises:
        Unavailable: The store cannot be reached, or does not answer.
        Unauthorized: It does not let us.
        SettingsError: There is no such store.
    """

    @property
    def name(self) -> str:
        """Where the objects are, as errors say it: the address and the server. No secret is in it."""

    def stat(self, key: str, *, hurry: bool) -> Stat | None:
        """The object's present version; None without one. ``hurry``: there is something to go on with without it."""

    def read(self, key: str, version: Stat, target: int) -> None:
        """Write the content of that version into the open file ``target``. Raise ``Changed`` if it is no more."""

    def write(self, source: Path, key: str, size: int, sha256: str) -> Stat:
        """Put the file ``source``, all of it or nothing, durably."""

    def keys(self, prefix: str) -> Iterator[str]:
        """Keys that begin with ``prefix``."""

    def remove(self, key: str) -> None:
        """Remove the object, if there is one."""

    def close(self) -> None:
        """Close connections."""
