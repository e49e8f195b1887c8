"""A model as files: what the registry keeps and the runtime loads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Artifact:
    """A model in a format that can be served.

    Attributes:
        format: ``onnx``; later ``skops``, ``xgboost``, …; names the Runtime engine.
        files: File name to content; the main file is ``model.<format>``. ``examples.json`` holds recorded rows and what
            the trained model answers: ``{"columns": {name: [cell]}, "outputs": {name: [value]}, "tolerance": t}``.
        inputs: Names of the input columns, in the order the graph takes them: numeric ones, then strings.
        outputs: Names of the outputs, per row (``late``).
        report: How the export was checked: rows, largest difference, label agreement, tolerance.
    """

    format: str
    files: Mapping[str, bytes]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    report: Mapping[str, Any] = field(default_factory=dict)
