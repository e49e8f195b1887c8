"""Models scored by a native library in this process, after a worker has shown that loading them does no harm.

Libraries of boosters end the whole process over some damaged files; the worker dies in its place.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from headrace.errors import HeadraceError, IntegrityError, RunFailed, first_line
from headrace.models.runtime import Batch
from headrace.models.signature import Signature
from headrace.serving.rehearsal import Rehearsal
from headrace.serving.worker import Score
from headrace.serving.worker_process import Limits


class NativeRuntime:
    """Runtime whose models are loaded in this process.

    Args:
        format: Of the models.
        loader: ``module:function``, which takes a folder and a signature and returns what scores; called in a worker
            first, then here. What it returns is called from several threads at once.
        limits: For the worker.
        rehearse: What the worker calls instead, when it is to look closer.
    """

    def __init__(self, format: str, loader: str, limits: Limits, rehearse: str = "") -> None:  # noqa: A002 - the port's
        self.format, self._loader = format, loader
        self._rehearsal = Rehearsal(format, rehearse or loader, limits)

    def load(self, folder: Path, signature: Signature) -> "NativeModel":
        """Load the model in a worker, and when that lives, here.

        Raises:
            IntegrityError: A file is missing or not of the format.
            SignatureError: The model does not fit the signature.
            RunFailed: The library ended the worker.
        """
        self._rehearsal.load(folder, signature).close()
        module, _, name = self._loader.partition(":")
        try:
            score: Score = getattr(importlib.import_module(module), name)(folder, signature)
        except HeadraceError:
            raise
        except Exception as error:
            raise IntegrityError(
                "the model cannot be loaded", where=str(folder), why=f"{type(error).__name__}: {first_line(error)}"
            ) from error
        return NativeModel(score)

    def declared(self, folder: Path, name: str = "") -> None:
        """None: boosters do not say what their answer is called; see ``Runtime.declared``."""

    def examples(self, folder: Path, signature: Signature) -> None:
        """None: boosters keep no rows; see ``Runtime.examples``."""


class NativeModel:
    """A model of this process; see ``models.runtime.Loaded``.

    Args:
        score: What a loader returned.
    """

    def __init__(self, score: Score) -> None:
        self._score: Score | None = score

    def score(self, batch: Batch) -> Mapping[str, NDArray[Any]]:
        """Outputs by name.

        Raises:
            RunFailed: The model refused the batch, or is closed.
        """
        score = self._score
        if score is None:
            raise RunFailed("the model is closed")
        try:
            return score(batch)
        except Exception as error:
            raise RunFailed("the model did not score", why=f"{type(error).__name__}: {first_line(error)}") from error

    def close(self) -> None:
        """Let the model go; a call that still runs keeps it until it ends."""
        self._score = None
