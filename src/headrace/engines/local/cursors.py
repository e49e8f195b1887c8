"""How far readers of a topic are: a file each, replaced as a whole."""

import secrets
from contextlib import suppress
from pathlib import Path

from headrace.refs import checked_name
from headrace.storage.durable import make_folders

_ENDING = ".cursor"


def remember(folder: Path, name: str, offset: int) -> None:
    """Keep how far a reader is."""
    make_folders(folder)
    half = folder / f".half-{secrets.token_hex(8)}"
    try:
        half.write_text(f"{offset}\n", "ascii")
        half.replace(_path(folder, name))
    except OSError:
        with suppress(OSError):
            half.unlink(missing_ok=True)
        raise


def remembered(folder: Path, name: str) -> int:
    """How far a reader is; -1 where nothing is kept, or a power cut took it."""
    try:
        text = _path(folder, name).read_text("ascii")
    except FileNotFoundError:
        return -1
    said = text.strip("\0\n")
    return int(said) if said else -1


def _path(folder: Path, name: str) -> Path:
    return folder / f"{checked_name(name, of='cursor')}{_ENDING}"
