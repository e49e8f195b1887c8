"""What must survive a power cut."""

import os
from contextlib import suppress
from functools import lru_cache
from pathlib import Path


def sync(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folders(folder: Path) -> None:
    """Like ``mkdir -p``, each new name synced into its parent: what is in a folder is lost with the folder's name."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for made in reversed(missing):
        made.mkdir(exist_ok=True)
        sync(made.parent)


def keep_names(folder: Path) -> None:
    """Wait until a folder and all above it are on the disk under their names, whoever made them.

    Who made one may have died before it was synced. Asked again for the same folder, this costs little.
    """
    _keep_names(folder.absolute(), folder.stat().st_ino)


@lru_cache(1024)
def _keep_names(folder: Path, _inode: int) -> None:
    above = folder.parent
    if above == folder or above.stat().st_dev != folder.stat().st_dev:  # who mounts a disk gives its root a name
        return
    with suppress(PermissionError):  # what may not be read was not made by us
        sync(above)
    _keep_names(above, above.stat().st_ino)
