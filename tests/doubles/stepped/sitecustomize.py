"""Python's wall clock, stepped from outside by the seconds in a file; the monotonic clock is left alone."""

import mmap
import os
import struct
import time
from pathlib import Path

SECONDS = struct.Struct("d")
FILE = "CLOCK_STEP_FILE"


def step(path, seconds):
    """From now on wall clocks that look at ``path`` are ``seconds`` ahead."""
    with Path(path).open("r+b" if Path(path).exists() else "w+b") as file:
        file.write(SECONDS.pack(seconds))


def _install(path):
    with Path(path).open("rb") as file:
        shown = mmap.mmap(file.fileno(), SECONDS.size, access=mmap.ACCESS_READ)
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() + SECONDS.unpack(shown)[0]
    time.time_ns = lambda: now_ns() + int(SECONDS.unpack(shown)[0] * 1e9)


if FILE in os.environ:
    _install(os.environ[FILE])
