"""Who may do what: tokens with names and scopes, kept as digests in a file that servers follow while they run."""

import fcntl
import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from headrace.errors import Conflict, NotFound, SettingsError, UsageError
from headrace.placement import tokens
from headrace.refs import checked_name

FILE = "tokens.json"
OWNER = "control"
"""The name of the token in ``control.token``, which is its owner's and may do everything."""
PREFIX = "headrace_"
LOOKS_LIKE_ONE = re.compile(re.escape(PREFIX) + r"[A-Za-z0-9_-]{43}")
"""What tokens look like, for who must find them where they should not be."""
_BYTES = 32

_Stamp = tuple[int, ...] | None


class Scope(StrEnum):
    """What a token lets its holder do."""

    READ = "read"
    """See how it is: status, metadata, statistics, metrics, overview, index."""
    SCORE = "score"
    """Have rows scored."""
    DEPLOY = "deploy"
    """Change what is served: load, unload, reload."""
    ADMIN = "admin"
    """All of these, and make and revoke tokens."""


@dataclass(frozen=True)
class Token:
    """A token, as far as it is known: never itself.

    Attributes:
        name: Of who or what uses it.
        sha256: Of the token, in hexadecimal. It has 256 random bits, so that nobody can find it from that.
        scopes: What it is for; ``admin`` stands for all.
        made_s: Unix time.
        expires_s: Unix time from which it is refused; None for never.
    """

    name: str
    sha256: str
    scopes: frozenset[Scope]
    made_s: float
    expires_s: float | None = None

    def allows(self, scope: Scope) -> bool:
        """Whether it is for this."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    @property
    def expired(self) -> bool:
        """Whether its time is over."""
        return self.expires_s is not None and self.expires_s <= time.time()

    def to_json(self) -> dict[str, Any]:
        """As the file has it, and as it may be shown."""
        said = {"name": self.name, "scopes": sorted(self.scopes), "made_s": self.made_s, "expires_s": self.expires_s}
        return {**said, "sha256": self.sha256}


def scopes_named(names: Iterable[str]) -> frozenset[Scope]:
    """Scopes by their names; raise ``UsageError`` for a name of none, and for none at all."""
    known = ", ".join(Scope)
    try:
        found = frozenset(Scope(name) for name in names)
    except ValueError as error:
        raise UsageError(str(error).replace("Scope", "scope"), fix=f"one or more of {known}") from None
    if not found:
        raise UsageError("a token has at least one scope", fix=f"one or more of {known}")
    return found


def digest(secret: str | bytes) -> str:
    """What is kept of a token."""
    return hashlib.sha256(secret.encode() if isinstance(secret, str) else secret).hexdigest()


class Tokens:
    """The tokens of a project: those of its file, and the owner's own.

    Args:
        home: The project's state folder.
    """

    def __init__(self, home: Path) -> None:
        self._home, self._path = home, home / FILE
        # In one piece: several threads read, and none may take for new what another knew before.
        self._latest: tuple[tuple[_Stamp, _Stamp], tuple[Token, ...]] = (None, None), ()

    def current(self) -> tuple[Token, ...]:
        """All of them as they are now, expired ones too; what changed is read again.

        Raises:
            SettingsError: A file cannot be trusted, or read.
        """
        seen = _stamp(self._path), _stamp(self._home / tokens.NAME)
        before, known = self._latest
        if seen != before or not known:
            known = (self._owners(seen[1]), *self._kept())
            self._latest = seen, known
        return known

    def make(self, name: str, scopes: Collection[Scope], *, for_s: float | None = None) -> str:
        """Make a token; only its digest is kept, so this is the only time that it can be seen.

        Args:
            name: Of who or what will use it.
            scopes: What it is for.
            for_s: Seconds until it expires; None for never.

        Raises:
            Conflict: There is one of that name.
            NameRefused: The name breaks the naming rule.
            UsageError: It would be for nothing, or no longer than now.
        """
        checked_name(name, of="token")
        if for_s is not None and for_s <= 0:
            raise UsageError("the token would be expired at once", fix="90d, 12h or 30m")
        secret, now = PREFIX + secrets.token_urlsafe(_BYTES), time.time()
        expires_s = None if for_s is None else now + for_s
        token = Token(name, digest(secret), scopes_named(scopes), now, expires_s)
        with self._changing() as kept:
            if name == OWNER or name in {other.name for other in kept}:
                raise Conflict(
                    f"there is a token named {name!r} already",
                    fix=f"another name, as {name}-2; revoke the old one once the new one is in use",
                )
            kept.append(token)
        return secret

    def revoke(self, name: str) -> None:
        """Refuse a token from now on. The owner's own is replaced by another, which its file holds.

        Raises:
            NotFound: There is none of that name.
        """
        if name == OWNER:
            tokens.replace_control_token(self._home)
            return
        with self._changing() as kept:
            left = [token for token in kept if token.name != name]
            if len(left) == len(kept):
                raise NotFound(f"no token named {name!r}", fix="headrace tokens ls")
            kept[:] = left

    def _owners(self, stamp: _Stamp) -> Token:
        secret = tokens.control_token(self._home)
        made_s = (stamp or _stamp(self._home / tokens.NAME) or (0, 0))[1] / 1e9
        return Token(OWNER, digest(secret), frozenset({Scope.ADMIN}), made_s)

    def _kept(self) -> list[Token]:
        if not self._path.exists():
            return []
        tokens.check_private(self._path, "the file of tokens")
        try:
            return [_read(row) for row in json.loads(self._path.read_text("utf-8"))["tokens"]]
        except (ValueError, KeyError, TypeError) as error:
            fix = f"delete it, and make the tokens anew: headrace tokens make; it is {type(error).__name__}"
            raise SettingsError("the file of tokens cannot be read", where=str(self._path), fix=fix) from error

    @contextmanager
    def _changing(self) -> Iterator[list[Token]]:
        """The tokens of the file, written back at the end; one process at a time."""
        with os.fdopen(os.open(self._home / f".{FILE}.lock", os.O_WRONLY | os.O_CREAT, 0o600), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            kept = self._kept()
            yield kept
            text = json.dumps({"tokens": [token.to_json() for token in kept]}, indent=1)
            tokens.write_private(self._path, text + "\n")


def _read(row: Any) -> Token:
    made_s, expires_s = float(row["made_s"]), row["expires_s"]
    expires_s = None if expires_s is None else float(expires_s)
    return Token(str(row["name"]), str(row["sha256"]), frozenset(map(Scope, row["scopes"])), made_s, expires_s)


def _stamp(path: Path) -> _Stamp:
    """What changes when a file does."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size
