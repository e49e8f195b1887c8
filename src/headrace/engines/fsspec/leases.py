"""Which process uses which object: each appends what it was given to a file of its own, locked as long as it lives."""

import fcntl
import os
import secrets
import threading
from collections import Counter
from pathlib import Path


class Leases:
    """What processes were given, this one among them.

    Args:
        folder: One file for each process that lives.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own: int | None = None
        self._path = folder / f"{os.getpid()}-{secrets.token_hex(4)}"
        self._kept: set[str] = set()
        self._passing = threading.local()
        self._lock = threading.Lock()

    def add(self, key: str, *, keep: bool) -> None:
        """This process uses ``key``: until it ends, or until this thread uses the next that is not to be kept."""
        with self._lock:
            lines = ""
            if not keep:
                before = getattr(self._passing, "key", "")
                lines = f"-{before}\n" if before else ""
            if not keep or key not in self._kept:
                lines += f"+{key}\n"
            if lines:
                os.write(self._file(), lines.encode())
            # Not before: what a full disk did not take is to be said again.
            if keep:
                self._kept.add(key)
            else:
                self._passing.key = key

    def used(self) -> set[str]:
        """What processes that live use."""
        using: Counter[str] = Counter()
        for path in self._folder.iterdir():
            text = _read(path, own=path == self._path)
            for line in text.splitlines():
                using[line[1:]] += 1 if line[0] == "+" else -1
        return {key for key, count in using.items() if count > 0}

    def close(self) -> None:
        """This process uses nothing any more."""
        with self._lock:
            if self._own is not None:
                self._path.unlink(missing_ok=True)
                os.close(self._own)
                self._own = None
                self._kept.clear()
                self._passing = threading.local()

    def _file(self) -> int:
        if self._own is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._own = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
            fcntl.flock(self._own, fcntl.LOCK_EX)
        return self._own


def _read(path: Path, *, own: bool) -> str:
    """The lines of a process that lives; the file of a dead one goes."""
    try:
        with path.open(encoding="utf-8") as reading:
            if own:
                return reading.read()
            try:
                fcntl.flock(reading, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return reading.read()
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        pass
    return ""
