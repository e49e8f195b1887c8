"""Files: whole objects under keys, written once."""

from pathlib import Path
from typing import Protocol


class Files(Protocol):
    """Port: immutable objects by key (``artifacts/ab/abcd…/manifest.json``)."""

    def put(self, source: Path, key: str) -> None:
        """Store a copy of the file ``source`` under ``key``, durably: all of it or nothing; a key may be put again."""

    def get(self, key: str, *, keep: bool = True) -> Path:
        """A local path that holds the object; read it, never write it. Raise ``NotFound`` if there is none.

        It holds until this process ends; without ``keep``, until the same thread gets the next object so. In its folder
        are objects that the store has, or had when it was last reached, and no other files.
        """

    def list(self, prefix: str) -> list[str]:
        """Keys that begin with ``prefix``, sorted."""

    def delete(self, key: str) -> None:
        """Remove the object; nothing happens when there is none."""
