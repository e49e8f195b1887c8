"""Small files that are replaced as a whole: written under another name, which a killed process may leave behind."""

import secrets
import time
from contextlib import suppress
from pathlib import Path

_HALF = ".half-"
_LEFT_S = 3600.0
"""What is as old as this is not being written any more."""


def replace(target: Path, data: bytes) -> None:
    """Put these bytes in place of a file; readers see one or the other.

    Raises:
        OSError: It was not replaced.
    """
    half = target.with_name(f"{_HALF}{secrets.token_hex(8)}")
    try:
        half.write_bytes(data)
        half.replace(target)
    finally:
        with suppress(OSError):
            half.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Delete what was left behind; what cannot be is left to the next who comes."""
    for half in folder.glob(f"{_HALF}*"):
        with suppress(OSError):
            if time.time() - half.stat().st_mtime > _LEFT_S:
                half.unlink()
