"""Folders for half-made files, which go when whoever makes them ends, in whatever way."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PLACE = "half-made"


@contextmanager
def half_made(scratch: Path | None, prefix: str) -> Iterator[Path]:
    """A new folder, which goes with what is in it when the block ends.

    A process that is killed cannot clean up: whoever makes the next folder does, and knows by the locks who is alive.

    Args:
        scratch: Where, on a disk with room; the system's temporary folder, which the system cleans, when None.
        prefix: What its name begins with.
    """
    if scratch is None:
        with tempfile.TemporaryDirectory(prefix=prefix) as made:
            yield Path(made)
        return
    home = scratch / _PLACE
    home.mkdir(parents=True, exist_ok=True)
    with _locked(home):  # nobody takes a folder for left that is only just made
        for left in home.iterdir():
            _remove_left(left)
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=home))
        held = os.open(folder, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


@contextmanager
def _locked(folder: Path, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, how)
        yield
    finally:
        os.close(held)


def _remove_left(folder: Path) -> None:
    """Remove what no living process holds."""
    with suppress(OSError), _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
        shutil.rmtree(folder, ignore_errors=True)
