"""An exported program inside its worker: read, found harmless, written anew, and only then given to PyTorch."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from headrace.engines.torch import program as programs
from headrace.engines.torch.archive import Archive, check_tensors
from headrace.errors import IntegrityError, Refused, SignatureError
from headrace.models.archives import opened
from headrace.models.artifact import existing
from headrace.models.feeding import fed
from headrace.models.signature import Signature
from headrace.serving.worker import Score

MAIN_FILE = "model.torch"
_KEPT = re.compile(
    r"data/(weights/weight|constants/tensor)_\d+|archive_format|archive_version|byteorder|\.data/version"
)
_READ = {
    "program": "models/model.json",
    "weights": "data/weights/model_weights_config.json",
    "constants": "data/constants/model_constants_config.json",
    "sample": "data/sample_inputs/model.pt",
}
_DROPPED = re.compile(r"extra/.*|\.data/serialization_id|\.format_version|\.storage_alignment")


def load(folder: Path, signature: Signature) -> Score:
    """A program that scores.

    Raises:
        IntegrityError: The file is missing or no program.
        Refused: It holds compiled code, a pickle of more than tensors, or text that would run as Python.
        SignatureError: Its tensors are not the signature's.
    """
    path = existing(folder / MAIN_FILE)
    with opened(path) as zipped:
        archive = Archive(zipped)
        program = _checked(archive, path)
        own = programs.declared(program)
        _check_batch(program, own)
        with archive.rewritten(filter(_KEPT.fullmatch, archive.names), _replaced(archive, program)) as file:
            call = _loaded(file, path)
    from headrace.engines.torch.feeding import of_arrays

    return fed(of_arrays(call), signature, own, returned=programs.returned(program))


def declared(folder: Path, name: str = "") -> Signature:
    """What the program takes and gives, read without PyTorch.

    Raises:
        IntegrityError: The file is no program.
        Refused: As ``load``.
        SignatureError: It takes or gives what is no tensor, or another signature than its only one is asked for.
    """
    path = existing(folder / MAIN_FILE)
    if name:
        raise SignatureError(f"the model has no signature {name!r}", why="an exported program has one, without a name")
    with opened(path) as zipped:
        return programs.declared(_checked(Archive(zipped), path))


def _checked(archive: Archive, path: Path) -> dict[str, Any]:
    """The program, when nothing in the archive does more than compute."""
    known = {*_READ.values(), *filter(_KEPT.fullmatch, archive.names), *filter(_DROPPED.fullmatch, archive.names)}
    strange = [name for name in archive.names if name not in known]
    if strange:
        raise Refused("the archive holds more than one exported program", where=str(path), why=strange[0])
    programs.checked_payload(archive.read(_READ["weights"]), "weight")
    programs.checked_payload(archive.read(_READ["constants"]), "tensor")
    check_tensors(archive.read(_READ["sample"]))
    return programs.checked(archive.read(_READ["program"]))


def _replaced(archive: Archive, program: dict[str, Any]) -> dict[str, bytes]:
    configs = {name: archive.read(name) for name in (_READ["weights"], _READ["constants"])}
    return {**configs, _READ["program"]: json.dumps(program).encode(), _READ["sample"]: b""}


def _check_batch(program: dict[str, Any], own: Signature) -> None:
    """Refuse a program that takes no single row."""
    least = [limits.get("min_val") or 0 for limits in program["range_constraints"].values()]
    if own.tensors and own.tensors[0].shape[:1] == (-1,) and min(least, default=0) > 1:
        raise SignatureError(
            f"the program takes {min(least)} rows or more",
            why="requests of one row are usual",
            fix="export it with dynamic_shapes={'x': {0: torch.export.Dim('batch')}}",
        )


def _loaded(file: IO[bytes], path: Path) -> Callable[[list[Any]], Any]:
    import torch

    from headrace.engines.torch.feeding import quiet

    quiet()
    try:
        module = torch.export.load(file).module()
    except MemoryError:
        raise
    except Exception as error:
        raise IntegrityError("the model cannot be loaded", where=str(path), why=str(error)[:300]) from error
    spec = module._in_spec  # noqa: SLF001 - how flat tensors become arguments

    def call(tensors: list[Any]) -> Any:
        args, kwargs = torch.utils._pytree.tree_unflatten(tensors, spec)  # noqa: SLF001 - the same
        return module(*args, **kwargs)

    return call
