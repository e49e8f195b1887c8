"""A folder of a process's own below a shared one; what processes that died left there is removed."""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

_LOCK = ".lock"


class Scratch:
    """Holds a folder for as long as the process lives.

    A process that is killed cannot clean up: the next one that starts does, and knows by the lock who is alive.

    Args:
        home: Where each process has a folder.

    Attributes:
        path: This one's.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        home.mkdir(parents=True, exist_ok=True)
        turn = _opened(home)
        try:
            fcntl.flock(turn, fcntl.LOCK_EX)  # nobody takes a folder for left that is only just made
            for left in home.iterdir():
                if left.is_dir() and _is_left(left):
                    shutil.rmtree(left, ignore_errors=True)
            self.path = Path(tempfile.mkdtemp(dir=home))
            self._held = _opened(self.path)
            fcntl.flock(self._held, fcntl.LOCK_EX)
        finally:
            os.close(turn)

    def keep(self, name: str, text: str) -> None:
        """Keep a small file for the processes that come later."""
        half = self.path / name
        half.write_text(text)
        half.replace(self._home / name)

    def kept(self, name: str) -> str:
        """What was kept under a name; empty when nothing was."""
        try:
            return (self._home / name).read_text()
        except OSError:
            return ""

    def close(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._held)


def _is_left(folder: Path) -> bool:
    held = _opened(folder)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(held)
    return True


def _opened(folder: Path) -> int:
    return os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
