"""The token of the control port: made at first start, kept in a file that only its owner can read."""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from headrace.errors import SettingsError

NAME = "control.token"
_BYTES = 32


def control_token(home: Path) -> str:
    """The token of the project whose state folder is ``home``; made now when there is none.

    Raises:
        SettingsError: Others than its owner can read the file, or it holds no token.
    """
    path = home / NAME
    if not path.exists():
        _make(path)
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077 or found.st_uid != os.getuid():
        raise SettingsError(
            "the control token is not private",
            where=str(path),
            why="it must be a plain file of yours with mode 0600",
            fix="delete it and start again: a new one is made",
        )
    token = path.read_text("ascii").strip()
    if len(token) < _BYTES:
        raise SettingsError("the control token is too short", where=str(path), fix="delete it and start again")
    return token


def _make(path: Path) -> None:
    half = path.with_name(f".{NAME}.{secrets.token_hex(8)}")
    opened = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(opened, "w") as file:
            file.write(secrets.token_urlsafe(_BYTES) + "\n")
        with suppress(FileExistsError):  # another process was first: its token stands
            os.link(half, path)
    finally:
        half.unlink()
