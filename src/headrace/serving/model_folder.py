"""A folder of models as it lies on a disk: which versions there are, and what the files of one say.

A version, ``NAME/3/``, holds one model as other servers have it: a file of any name, or the files of a SavedModel, by
themselves or in one folder. ``signature.json`` beside it says what the model takes and gives where its format does
not, ``examples.json`` what it must answer; with the ``manifest.json`` of the registry its digests are verified. What is
trusted is not said here: a ``trusted.json`` is passed over.
"""

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from headrace.errors import IntegrityError, NameRefused, Refused, SignatureError
from headrace.models.formats import SAVED_MODEL, at, sniffed, sniffed_folder
from headrace.models.reading import read_file, read_folder
from headrace.models.registry import EXAMPLES, PROFILE, SIGNATURE
from headrace.models.runtime import Runtime, cautious
from headrace.models.signature import WORDS, Column, Signature, Tensor
from headrace.models.tensors import NUMPY
from headrace.models.trust import TRUSTED_FILE, check_trust
from headrace.refs import checked_name
from headrace.storage.manifest import NAME as MANIFEST

_ABOUT = frozenset({SIGNATURE, EXAMPLES, PROFILE, MANIFEST, TRUSTED_FILE})
_FIX = f"put {SIGNATURE} beside it, or register it: headrace models import"


class State(NamedTuple):
    """How a version's folder lies there.

    Attributes:
        folder: Its name, which may have leading zeros (``00000123``).
        files: Relative path, size and times of every file: what a copy in progress changes.
    """

    folder: str
    files: tuple[tuple[str, int, int, int], ...]


class Contents(NamedTuple):
    """What a version's files say.

    Attributes:
        format: Of the model.
        files: As a runtime wants them.
        signature: What ``signature.json`` says; None without it.
    """

    format: str
    files: Mapping[str, bytes]
    signature: Signature | None


def states(folder: Path) -> dict[tuple[str, int], State]:
    """Every version by model and number, but for links and for what no model may be called.

    Args:
        folder: Where they are; it need not exist yet.

    Raises:
        OSError: It cannot be looked into.
    """
    found: dict[tuple[str, int], State] = {}
    for model in _folders(folder):
        if not _may_serve(model.name):
            continue
        for version in _folders(model):
            number = int(version.name) if version.name.isascii() and version.name.isdigit() else 0
            if number:
                found.setdefault((model.name, number), State(version.name, tuple(sorted(_files(version)))))
    return found


def contents(where: Path) -> Contents:
    """What the files of a version say.

    Raises:
        IntegrityError: A file is not what the manifest says.
        Refused: There is a link, or not one model of a known format.
        SignatureError: The signature cannot be read.
    """
    files = read_folder(where)
    _check_manifest(files, where)
    about = {path: content for path, content in files.items() if path in _ABOUT}
    format_, model = _model({path: content for path, content in files.items() if path not in about}, where)
    about.pop(TRUSTED_FILE, None)  # who may put a file here could trust it too
    signature = _parsed(about[SIGNATURE], where) if SIGNATURE in about else None
    return Contents(format_, about | model, signature)


def said(where: Path, state: State) -> Signature | None:
    """The signature beside a version's model; None without one.

    Raises:
        Refused: It is a link.
        SignatureError: It cannot be read.
    """
    there = any(path == SIGNATURE for path, *_ in state.files)
    return _parsed(read_file(where / SIGNATURE), where) if there else None


def declared(runtime: Callable[[str], Runtime], format_: str, folder: Path, where: Path) -> Signature:
    """What a model itself says that it takes and gives.

    Args:
        runtime: The runtime for a model format.
        format_: Of the model.
        folder: Its files, as the runtime wants them.
        where: What to name in errors.

    Raises:
        Refused: Its format does not say.
        SignatureError: What it says cannot be served.
        IntegrityError: It cannot be read.
    """
    try:
        found = cautious(runtime(format_)).declared(folder)
    except SignatureError as error:
        raise SignatureError(error.what, where=str(where), why=error.why, fix=_FIX) from error
    if found is None:
        raise Refused(f"a model of format {format_} does not say what it takes and gives", where=str(where), fix=_FIX)
    return found


def blank_examples(signature: Signature) -> dict[str, Any]:
    """One row of nothing, without answers: enough to see that a model scores at all."""
    if signature.kind == "table":
        return {"columns": {column.name: [_nothing(column)] for column in signature.columns}}
    return {"tensors": {tensor.name: _zeros(tensor) for tensor in signature.tensors}}


def _may_serve(name: str) -> bool:
    try:
        return bool(checked_name(name))
    except NameRefused:
        return False


def _model(files: Mapping[str, bytes], where: Path) -> tuple[str, dict[str, bytes]]:
    """The format of the model, and its files as an artifact keeps them."""
    if not files:
        raise Refused("a version without a model", where=str(where))
    (first, content), *others = files.items()
    if not others and "/" not in first and first != SAVED_MODEL:
        with at(where / first):
            format_ = sniffed(content)
        return format_, {f"model.{format_}": content}
    tops = {path.partition("/")[0] for path in files}
    if SAVED_MODEL not in files and len(tops) == 1:
        where, files = where / tops.pop(), {path.partition("/")[2]: content for path, content in files.items()}
    with at(where):
        format_ = sniffed_folder(files)
    kept = {f"model.{format_}/{path}": content for path, content in files.items()}
    # Whoever may copy files here may not say by a file that they are trusted.
    check_trust(format_, (), where, kept)
    return format_, kept


def _parsed(text: bytes, where: Path) -> Signature:
    try:
        return Signature.from_json(json.loads(text))
    except (ValueError, KeyError, TypeError) as error:
        raise SignatureError("the signature cannot be read", where=str(where / SIGNATURE), why=str(error)) from error


def _check_manifest(files: Mapping[str, bytes], where: Path) -> None:
    if MANIFEST not in files:
        return
    try:
        due = dict(json.loads(files[MANIFEST])["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError("the manifest cannot be read", where=str(where / MANIFEST), why=str(error)) from error
    found = {path: hashlib.sha256(content).hexdigest() for path, content in files.items() if path != MANIFEST}
    wrong = sorted(path for path in due.keys() | found.keys() if due.get(path) != found.get(path))
    if wrong:
        raise IntegrityError("a file is not what the manifest says", where=str(where / wrong[0]))


def _folders(folder: Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    """The folders in one by name, links aside."""
    return sorted((e for e in _entries(folder) if e.is_dir(follow_symlinks=False)), key=lambda e: e.name)


def _files(folder: os.DirEntry[str], within: str = "") -> Iterator[tuple[str, int, int, int]]:
    """What lies below a folder, links as links; what cannot be looked at is not there."""
    with suppress(OSError):
        for entry in _entries(folder):
            path = f"{within}{entry.name}"
            with suppress(OSError):
                about = entry.stat(follow_symlinks=False)
                yield path, about.st_size, about.st_mtime_ns, about.st_ctime_ns
                if stat.S_ISDIR(about.st_mode):
                    yield from _files(entry, f"{path}/")


def _entries(folder: Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    """What is in a folder; nothing in one that is not there. A disk that fails raises: its models have not gone."""
    try:
        with os.scandir(folder) as found:
            return list(found)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _nothing(column: Column) -> Any:
    return "" if column.dtype == "string" else NUMPY[column.dtype](0).item()


def _zeros(tensor: Tensor) -> Any:
    extents = [1 if extent < 0 else extent for extent in tensor.shape]
    return np.full(extents, "" if tensor.dtype in WORDS else 0, NUMPY[tensor.dtype]).tolist()
