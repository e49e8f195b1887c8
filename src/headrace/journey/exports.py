"""A registered model version as a folder outside the registry, and such a folder as what an import takes."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.errors import IntegrityError, Refused
from headrace.models.reading import read_folder
from headrace.models.registry import EXAMPLES, PROFILE, SIGNATURE, fetch
from headrace.models.signature import Signature
from headrace.models.version import ModelVersion
from headrace.storage import manifest
from headrace.storage.durable import sync
from headrace.storage.files import Files

_HALF = ".half-"


@dataclass(frozen=True)
class Export:
    """An exported version, its digests verified.

    Attributes:
        model: The model's file or folder.
        signature: What it takes and gives.
        examples: Recorded rows and answers.
        profile: Of the training inputs; None when it was registered without.
    """

    model: Path
    signature: Signature
    examples: Mapping[str, Any]
    profile: Mapping[str, Any] | None = None


def exported(files: Files, version: ModelVersion, to: Path) -> Path:
    """Write what the registry keeps of ``version`` as ``to/<name>/<version>/``: all of it or nothing.

    Returns:
        That folder; one that already holds the same is left as it is.

    Raises:
        IntegrityError: A stored file is not what was registered.
        Refused: Something else stands there.
    """
    source, target = fetch(files, version), to / version.name / str(version.version)
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        half = Path(tempfile.mkdtemp(prefix=_HALF, dir=target.parent))
        try:
            _copy(manifest.read(files, version.folder, version.manifest), source, half)
            half.chmod(0o755)
            half.rename(target)
            sync(target.parent)
        except OSError:
            if not target.exists():
                raise
        finally:
            shutil.rmtree(half, ignore_errors=True)
    if not _holds(target, version):
        raise Refused(
            f"{target} holds something else", why=f"it is not {version}", fix="move it away, or export elsewhere"
        )
    return target


def is_export(path: Path) -> bool:
    """Whether a folder looks like an exported version."""
    return path.is_dir() and all((path / name).is_file() for name in (manifest.NAME, SIGNATURE, EXAMPLES))


def read_export(path: Path) -> Export:
    """An exported version, each file checked against the manifest beside it.

    Raises:
        Refused: There is a link in it, or no model.
        IntegrityError: A file is not the one that was exported.
    """
    found = read_folder(path)
    try:
        due = json.loads(found[manifest.NAME])["files"]
        signature = Signature.from_json(json.loads(found[SIGNATURE]))
        examples = json.loads(found[EXAMPLES])
        profile = json.loads(found[PROFILE]) if PROFILE in found else None
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError("the exported version cannot be read", where=str(path), why=repr(error)) from error
    for name in due.keys() | (found.keys() - {manifest.NAME}):
        if name not in due or name not in found or manifest.file_digest(path / name) != due[name]:
            raise IntegrityError("the exported version was altered", where=str(path / name), fix="export it again")
    models = sorted({name.partition("/")[0] for name in due if name.startswith("model.")})
    if len(models) != 1:
        raise Refused("the exported version holds no model", where=str(path), why=f"it has {', '.join(sorted(due))}")
    return Export(path / models[0], signature, examples, profile)


def _copy(kept: manifest.Manifest, source: Path, half: Path) -> None:
    for name in (*kept.files, manifest.NAME):
        path = half / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, path)
        sync(path)


def _holds(target: Path, version: ModelVersion) -> bool:
    try:
        if manifest.file_digest(target / manifest.NAME) != version.manifest:
            return False
        due = json.loads((target / manifest.NAME).read_bytes())["files"]
        return {*due, manifest.NAME} == set(read_folder(target)) and all(
            manifest.file_digest(target / name) == digest for name, digest in due.items()
        )
    except OSError:
        return False
