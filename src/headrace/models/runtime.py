"""Runtime port: load a model, score a batch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from headrace.models.params import Params
from headrace.models.signature import Signature

Batch = Mapping[str, NDArray[Any]]
"""A batch by input.

Tables: ``{"numbers": [rows, numeric columns], "strings": object [rows, string columns]}``, either absent when the
signature has no such column; numbers are of ``number_type``. Tensors: one array per input, batch first.
"""

FLOAT32_FORMATS = frozenset({"onnx", "xgboost"})
"""Formats whose models of tables compute with float32, whatever their columns are."""

_FITS_FLOAT32 = frozenset({"float32", "bool", "uint8"})


class Loaded(Protocol):
    """A model in memory."""

    def score(self, batch: Batch) -> Mapping[str, NDArray[Any]]:
        """Outputs by name, one row per input row."""

    def close(self) -> None:
        """Release what the model holds."""


@runtime_checkable
class Several(Protocol):
    """A model in memory that has several signatures."""

    def signed(self, name: str) -> Loaded:
        """The same model by one of ``Signature.others``; it ends with the model, and closing it does nothing."""


@runtime_checkable
class Tunable(Protocol):
    """A model in memory that may be told parameters."""

    def tuned(self, params: Params) -> Loaded:
        """The same model, told these; it ends with the model, and closing it does nothing."""


class Runtime(Protocol):
    """Port: bring a model of one format into memory."""

    format: str

    def load(self, folder: Path, signature: Signature) -> Loaded:
        """Load the model whose files are in ``folder`` (digests already verified)."""

    def declared(self, folder: Path, name: str = "") -> Signature | None:
        """What the model in ``folder`` itself says that it takes and gives; None when its format does not say.

        Args:
            folder: The model's files.
            name: Which of the signatures that it has; empty for the one it serves unasked. The others that can be
                served come with it.

        Raises:
            IntegrityError: A file is missing or not of the format.
            SignatureError: It has no signature of that name, or one that cannot be served as it is.
        """

    def examples(self, folder: Path, signature: Signature) -> Mapping[str, Any] | None:
        """Rows that come with the model, and what it answers them where it is at home; None when there are none.

        Returns:
            As ``Artifact.files`` says of ``examples.json``.

        Raises:
            IntegrityError: A file is missing or not of the format.
            SignatureError: The rows or the answers are not the signature's.
        """


@runtime_checkable
class Rehearsed(Protocol):
    """A runtime that loads models into this process, and can have them loaded in another one before."""

    @property
    def rehearsal(self) -> Runtime:
        """The same, with each model in a worker process that bounds its memory and its time."""


def cautious(runtime: Runtime) -> Runtime:
    """The runtime for files that nobody has looked at yet: nothing that they do happens in this process."""
    return runtime.rehearsal if isinstance(runtime, Rehearsed) else runtime


def numeric(signature: Signature) -> tuple[str, ...]:
    """Names of the columns that go into the float matrix, in signature order."""
    return tuple(c.name for c in signature.columns if c.dtype != "string")


def textual(signature: Signature) -> tuple[str, ...]:
    """Names of the columns that go into the string matrix, in signature order."""
    return tuple(c.name for c in signature.columns if c.dtype == "string")


def number_type(signature: Signature) -> type[np.float32] | type[np.float64]:
    """Of the float matrix: what holds every number of the signature's types, whole ones up to 2**53."""
    return np.float32 if {c.dtype for c in signature.columns} <= _FITS_FLOAT32 | {"string"} else np.float64


def to_batch(columns: Mapping[str, Any], signature: Signature) -> Batch:
    """Matrices of a table batch from columns of cells (lists or arrays), nulls as NaN and ``""``."""
    batch: dict[str, NDArray[Any]] = {}
    numbers, strings = numeric(signature), textual(signature)
    if numbers:
        dtype = number_type(signature)
        batch["numbers"] = np.column_stack([np.asarray(columns[n], dtype) for n in numbers])
    if strings:
        cells = [["" if v is None else v for v in columns[n]] for n in strings]
        batch["strings"] = np.array(cells, dtype=object).T
    return batch
