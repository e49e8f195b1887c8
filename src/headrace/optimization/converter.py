"""Converter port, implemented in the source framework's engine."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headrace.models.artifact import Artifact


class Converter(Protocol):
    """Port: export a trained model, and say what it would have answered."""

    def fits(self, model: Any) -> bool:
        """Whether this engine knows the model's class."""

    def convert(self, model: Any, columns: Mapping[str, str], *, to: str, output: str) -> Artifact:
        """Export ``model`` to the format ``to``.

        Args:
            model: The trained model.
            columns: Input column to dtype of ``models.signature`` (``float32``, ``string``, …), in training order.
            to: ``onnx``.
            output: Name of the output column: probability of the positive class of a binary classifier, or the value.

        Raises:
            UsageError: The model or format cannot be exported, and what to use instead.
        """

    def predict(self, model: Any, rows: Any, columns: Sequence[str]) -> NDArray[np.float64]:
        """What ``model`` answers for a table (narwhals frame) in its own framework: shape [rows]."""
