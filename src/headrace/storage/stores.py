"""The three ports that most rooms keep things with, as one argument."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from headrace.storage.files import Files
from headrace.storage.half_made import half_made
from headrace.storage.ledger import Ledger
from headrace.storage.tables import Tables


@dataclass(frozen=True)
class Stores:
    """Facts, objects and tables of one environment.

    Attributes:
        ledger: Facts.
        files: Objects.
        tables: The table engine.
        scratch: Folder for half-made files, on a disk; the system's temporary folder when None.
    """

    ledger: Ledger
    files: Files
    tables: Tables
    scratch: Path | None = None

    def folder(self, prefix: str) -> AbstractContextManager[Path]:
        """A new folder below ``scratch`` for half-made files; it goes with what is in it when the block ends."""
        return half_made(self.scratch, prefix)
