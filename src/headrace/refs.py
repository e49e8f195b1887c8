"""Names, references and ids: the one place that says what may be called what.

A reference is ``name``, ``name@version`` or ``name@alias``; a version is a positive integer.
"""

import os
import random
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from headrace.errors import NameRefused

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_SAID = 80
MOST_PARTS = 16
"""A relative path of more names is refused."""


def checked_name(name: str, *, of: str = "name") -> str:
    """Return ``name`` if it may name something, else raise ``NameRefused``.

    Args:
        name: The candidate; 1 to 128 of ``A-Z a-z 0-9 _ . -``, not starting with a dot.
        of: What is being named, for the message.
    """
    if not _NAME.fullmatch(name) or name.startswith("."):
        raise NameRefused(
            f"{of} {name!r} is not allowed",
            why="1 to 128 of A-Z a-z 0-9 _ . - and not starting with a dot",
            fix=f"rename it, for example {suggested_name(name)!r}",
        )
    return name


def checked_path(path: str, *, of: str = "path") -> str:
    """Return ``path`` if it may be kept below a folder, else raise ``NameRefused``.

    Args:
        path: The candidate; at most ``MOST_PARTS`` names with ``/`` between them, each as ``checked_name`` has it.
        of: What it leads to, for the message.
    """
    parts = path.split("/")
    if len(parts) > MOST_PARTS:
        raise NameRefused(f"{of} {path[:128]!r} is not allowed", why=f"more than {MOST_PARTS} folders deep")
    for part in parts:
        checked_name(part, of=of)
    return path


def suggested_name(text: str) -> str:
    """The nearest allowed name to ``text``."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-.")[:128] or "unnamed"


@dataclass(frozen=True)
class Ref:
    """A thing in a catalogue: ``late``, ``late@3``, ``late@champion``."""

    name: str
    selector: str = ""

    @classmethod
    def parse(cls, text: str) -> "Ref":
        """Read ``name[@version-or-alias]``; raise ``NameRefused`` when it is neither."""
        name, at, selector = text.partition("@")
        checked_name(name)
        if at:
            checked_name(selector, of=f"version or alias of {name}")
        return cls(name, selector)

    @property
    def version(self) -> int | None:
        """The version number, when the selector is one."""
        return int(self.selector) if self.selector.isdigit() else None

    def __str__(self) -> str:
        """As it is typed."""
        return f"{self.name}@{self.selector}" if self.selector else self.name


def contained(root: Path, *parts: str) -> Path:
    """Join untrusted ``parts`` below ``root``; raise ``NameRefused`` where they would leave it."""
    for part in parts:
        if "\0" in part or "\\" in part or part.startswith("/") or ".." in Path(part).parts:
            raise NameRefused(f"path {part!r} is not allowed", why="it would leave its folder")
    path = root.joinpath(*parts)
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise NameRefused(f"path {path.name!r} is not allowed", why="a link leads out of its folder")
    return path


_moment = (0, "")
_random = random.Random(secrets.randbits(256))  # noqa: S311 - ids are unique, not secret; one is made a request
os.register_at_fork(after_in_child=lambda: _random.seed(secrets.randbits(256)))


def new_id() -> str:
    """A UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, then 72 random ones; sorts by time of creation."""
    global _moment  # noqa: PLW0603 - what two threads write is right either way, and a lock costs as much as the rest
    now_ms, (known_ms, prefix) = time.time_ns() // 1_000_000, _moment
    if now_ms != known_ms:
        digits = f"{now_ms:012x}"
        prefix = f"{digits[:8]}-{digits[8:]}-7"
        _moment = now_ms, prefix
    chance = _random.getrandbits(72).to_bytes(9).hex()
    return f"{prefix}{chance[:3]}-8{chance[3:6]}-{chance[6:]}"


def id_time_ms(identifier: str) -> int:
    """Unix milliseconds inside a UUIDv7; raise ``NameRefused`` if it is not one."""
    digits = identifier.replace("-", "")
    if len(digits) != 32 or digits[12] != "7" or re.fullmatch("[0-9a-f]+", digits) is None:  # noqa: PLR2004 - RFC 9562
        raise NameRefused(
            f"{identifier[:_SAID]!r} is no id of a prediction",
            why="it is not a UUIDv7",
            fix="copy it from the header x-headrace-id of a reply, or from what headrace serving predict printed",
        )
    return int(digits[:12], 16)
