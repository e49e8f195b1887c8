"""A model as files: what the registry keeps and the runtime loads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headrace.errors import IntegrityError
from headrace.models.params import Param
from headrace.refs import checked_path


@dataclass(frozen=True)
class Artifact:
    """A model in a format that can be served.

    Attributes:
        format: ``onnx``, ``skops``, ``tensorflow``, …; names the Runtime engine.
        files: Relative path to content. The model is the file ``model.<format>``, or the files of a folder of that name
            (``model.tensorflow/saved_model.pb``). ``examples.json`` holds recorded rows and what the trained model
            answers: ``{"columns": {name: [cell]}, "outputs": {name: [value]}, "tolerance": t}``, with ``params`` where
            it was told some.
        inputs: Names of the input columns, in the order the graph takes them: numeric ones, then strings.
        outputs: Names of the outputs, per row (``late``).
        report: How the export was checked: rows, largest difference, label agreement, tolerance.
        params: What a request may say besides its input.
    """

    format: str
    files: Mapping[str, bytes]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    report: Mapping[str, Any] = field(default_factory=dict)
    params: tuple[Param, ...] = ()


def write_files(files: Mapping[str, bytes], folder: Path) -> None:
    """Write contents below ``folder`` by their relative paths.

    Raises:
        NameRefused: A path would leave the folder, or is deeper or called otherwise than files of models are.
    """
    for name, content in files.items():
        path = folder / checked_path(name, of="file of a model")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def existing(path: Path) -> Path:
    """The file of a model that is to be loaded.

    Raises:
        IntegrityError: There is none.
    """
    if not path.is_file():
        raise IntegrityError("the model cannot be loaded", where=str(path), why="there is no such file")
    return path
