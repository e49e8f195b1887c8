"""Masking: cells of named columns as keyed hashes in the log, so that equal ones can be told and none can be read."""

import hmac
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headrace.models.params import Params

_DIGITS = 16


class Mask:
    """Hashes cells of some columns with HMAC-SHA256, cut to 64 bits.

    Args:
        names: Columns, tensors, or the header that is the key of a split.
        key: Secret; who has it can tell whether a cell is a value that he guesses.
    """

    def __init__(self, names: Sequence[str], key: bytes) -> None:
        self.names = tuple(names)
        self._key = key
        self._lower = frozenset(name.lower() for name in names)

    def over(self, names: Sequence[str]) -> "Mask":
        """The same secret over these names as well."""
        return Mask((*self.names, *names), self._key)

    def covers(self, name: str) -> bool:
        """Whether ``name`` is masked; headers have no case."""
        return name in self.names or name.lower() in self._lower

    def told(self, names: Sequence[str]) -> tuple[str, ...]:
        """What is masked of a request with these columns, in their own spelling; readers look for them by it."""
        hidden = [name for name in names if self.covers(name)]
        lower = {name.lower() for name in hidden}
        return (*hidden, *(name for name in self.names if name.lower() not in lower))

    def text(self, cell: Any) -> str:
        """A cell's hash, of its text; empty stays empty."""
        said = str(cell)
        return hmac.digest(self._key, said.encode("utf-8", "surrogatepass"), "sha256").hex()[:_DIGITS] if said else ""

    def cells(self, names: Sequence[str], cells: Any) -> Any:
        """A request's cells, by row or by tensor, with those of masked columns hashed; nulls stay nulls."""
        if isinstance(cells, Mapping):
            return {name: self._tensor(array) if self.covers(name) else array for name, array in cells.items()}
        hidden = [self.covers(name) for name in names]
        return [
            tuple(
                self.text(cell) if hide and cell is not None else cell for cell, hide in zip(row, hidden, strict=True)
            )
            for row in cells
        ]

    def params(self, said: Params) -> Params:
        """What a request says besides its rows, likewise."""
        return {name: self.text(value) if self.covers(name) else value for name, value in said.items()}

    def _tensor(self, array: Any) -> Any:
        """By row: a row of pixels is one secret."""
        return np.array([[self.text(row.tolist() if hasattr(row, "tolist") else row)] for row in array], dtype=object)
