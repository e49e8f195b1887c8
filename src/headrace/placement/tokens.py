"""Secrets of a project, made when they are first needed: files in its state folder that only their owner can read."""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from headrace.errors import SettingsError
from headrace.storage.durable import sync

NAME = "control.token"
MASK_KEY = "mask.key"
_BYTES = 32


def control_token(home: Path) -> str:
    """What the control port asks for, in the project whose state folder is ``home``.

    Raises:
        SettingsError: Others than its owner can read the file, or it holds no token.
    """
    return _secret(home / NAME, "the control token")


def replace_control_token(home: Path) -> None:
    """Make another control token; who had the one before is refused from now on."""
    write_private(home / NAME, secrets.token_urlsafe(_BYTES) + "\n")


def mask_key(home: Path) -> bytes:
    """What columns of request logs are hashed with, in the project whose state folder is ``home``.

    Raises:
        SettingsError: Others than its owner can read the file, or it holds no key.
    """
    return _secret(home / MASK_KEY, "the key of masked columns").encode()


def check_private(path: Path, what: str) -> None:
    """Raise ``SettingsError`` unless only its owner, who we are, can read and write the file."""
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077 or found.st_uid != os.getuid():
        raise SettingsError(
            f"{what} is not private",
            where=str(path),
            why="it must be a plain file of yours with mode 0600",
            fix="chmod 600, or delete it and start again: a new one is made",
        )


def write_private(path: Path, text: str, *, over: bool = True) -> None:
    """Write a file that only its owner can read, whole or not at all; without ``over`` one that is there stays."""
    half = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    opened = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(opened, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(opened)
        if over:
            half.replace(path)
        else:
            with suppress(FileExistsError):  # another process was first: its secret stands
                os.link(half, path)
        sync(path.parent)  # a token that was revoked must not come back with the power
    finally:
        half.unlink(missing_ok=True)


def _secret(path: Path, what: str) -> str:
    if not path.exists():
        write_private(path, secrets.token_urlsafe(_BYTES) + "\n", over=False)
    check_private(path, what)
    text = path.read_text("ascii").strip()
    if len(text) < _BYTES:
        raise SettingsError(f"{what} is too short", where=str(path), fix="delete it and start again")
    return text
