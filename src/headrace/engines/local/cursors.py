"""How far readers of a topic are: a file each, replaced as a whole."""

from pathlib import Path

from headrace.engines.local.halves import replace
from headrace.refs import checked_name
from headrace.storage.durable import make_folders

_ENDING = ".cursor"


def remember(folder: Path, name: str, offset: int) -> None:
    """Keep how far a reader is."""
    make_folders(folder)
    replace(_path(folder, name), f"{offset}\n".encode("ascii"))


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
