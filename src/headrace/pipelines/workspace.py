"""What a run works with: the ports it needs, opened when first used, and where it is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from headrace.pipelines.ports import Executor
from headrace.pipelines.values import Codecs
from headrace.storage.files import Files
from headrace.storage.ledger import Ledger


@dataclass(frozen=True)
class Workspace:
    """The ports of a run and its folders.

    Attributes:
        root: The project.
        home: Its state folder.
        ledger: Facts.
        files: Artifacts.
        codecs: Codec by name or by an annotation's top-level module.
        executor: Worker processes.
    """

    root: Path
    home: Path
    ledger: Callable[[], Ledger]
    files: Callable[[], Files]
    codecs: Codecs
    executor: Callable[[], Executor]

    def log(self, run: str, name: str) -> Path:
        """Where a step's log lies."""
        return self.home / "runs" / run / f"{name}.log"
