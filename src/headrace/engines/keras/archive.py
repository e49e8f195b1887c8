"""A Keras model's archive before Keras sees it: a configuration, which is looked at, and weights; no other file."""

import zipfile
from pathlib import Path

from headrace.engines.keras.config import checked
from headrace.errors import Refused
from headrace.models.archives import opened
from headrace.models.artifact import existing

MAIN_FILE = "model.keras"
_CONFIG, _WEIGHTS, _ABOUT = "config.json", "model.weights.h5", "metadata.json"
_MOST_CONFIG_BYTES = 64 << 20


def read(folder: Path) -> tuple[bytes, bytes]:
    """The configuration, found to be of Keras' own layers, and the weights as they are.

    Raises:
        IntegrityError: The file is missing, or its configuration is no model's.
        Refused: It is no archive of a configuration and weights alone, or the model is of more than Keras' own layers.
    """
    path = existing(folder / MAIN_FILE)
    with opened(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        if not {_CONFIG, _WEIGHTS} <= entries.keys() <= {_CONFIG, _WEIGHTS, _ABOUT}:
            strange = ", ".join(sorted(entries.keys() ^ {_CONFIG, _WEIGHTS, _ABOUT}))
            raise Refused("the file is no Keras model without assets", where=str(path), why=strange[:200])
        if entries[_CONFIG].file_size > _MOST_CONFIG_BYTES:
            raise Refused("the model's configuration is too long", where=str(path))
        return checked(archive.read(_CONFIG)), archive.read(_WEIGHTS)


def write(config: bytes, weights: bytes, folder: Path) -> Path:
    """A new archive of what was read, so that Keras cannot read another one than was looked at."""
    path = folder / MAIN_FILE
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_CONFIG, config)
        archive.writestr(_WEIGHTS, weights)
    return path
