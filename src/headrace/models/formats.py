"""Formats of model files, told by their bytes and never by their names; what would run code is refused by its name."""

import io
import os
import stat
import zipfile
from pathlib import Path

from headrace.errors import Refused, UsageError

MOST_BYTES = 2 << 30
"""A longer model file is refused."""

_EXTERNAL_DATA = b"\x0a\x08location\x12"  # ONNX: a tensor's entry that names another file
_SHOWN = 16
_MOST_ENTRIES = 100_000
_MOST_RATIO = 1000
_ONNX_FIELDS = frozenset(b"\x12\x1a\x22\x28\x32\x3a\x42")  # what follows ir_version: producer, domain, graph, opset, …
# Pickles of protocol 2 and later; zlib, gzip, bzip2 and xz, as joblib compresses with.
_PICKLED = (b"\x80", b"x\x01", b"x\x5e", b"x\x9c", b"x\xda", b"\x1f\x8b", b"BZh", b"\xfd7zXZ")
_FIX = "save it as ONNX, XGBoost JSON or UBJSON, LightGBM text, or with skops.io.dump"


def read_model(path: Path) -> bytes:
    """The bytes of a plain file.

    Raises:
        Refused: It is a link, a folder, a device, or longer than ``MOST_BYTES``.
        UsageError: It cannot be read.
    """
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if path.is_symlink():
            raise Refused("a model is not read through a link", where=str(path), fix="name the file itself") from error
        raise UsageError("the model cannot be read", where=str(path), why=error.strerror or str(error)) from error
    try:
        found = os.fstat(opened)
        if not stat.S_ISREG(found.st_mode):
            raise Refused("a model is one plain file", where=str(path), why="this is none", fix=_FIX)
        if found.st_size > MOST_BYTES:
            raise Refused("the model is too long", where=str(path), why=f"{found.st_size} bytes of {MOST_BYTES}")
        with os.fdopen(opened, "rb", closefd=False) as file:
            return file.read(MOST_BYTES)
    finally:
        os.close(opened)


def sniffed(content: bytes) -> str:
    """The format of a model file: ``onnx``, ``xgboost``, ``lightgbm`` or ``skops``.

    Raises:
        Refused: It is of none of them, would run code when loaded, or names files outside itself.
    """
    if content.startswith(b"PK\x03\x04"):
        return _zipped(content)
    if content.startswith(b"tree\nversion=v"):
        return "lightgbm"
    if content.startswith(b"{") and b"learner" in content:
        return "xgboost"
    if content[:1] == b"\x08" and content[2:3] and content[2] in _ONNX_FIELDS:
        if _EXTERNAL_DATA in content:
            raise Refused("the ONNX model keeps its weights in other files", fix="save it as one file")
        return "onnx"
    if content.startswith(_PICKLED):
        why = f"it begins {_begin(content)}"
        raise Refused("a pickle or joblib file runs code when it is loaded", why=why, fix=_FIX)
    raise Refused("no format of models that is known", why=f"it begins {_begin(content)}", fix=_FIX)


def _zipped(content: bytes) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise Refused("the archive cannot be read", why=str(error)) from error
    names = {entry.filename for entry in entries}
    for entry in entries:
        _check_entry(entry)
    if len(entries) > _MOST_ENTRIES or sum(e.file_size for e in entries) > MOST_BYTES:
        raise Refused("the archive is too large", why=f"{len(entries)} entries")
    if any(name.endswith(".pkl") for name in names):
        raise Refused("a PyTorch file holds a pickle, which runs code when it is loaded", fix=_FIX)
    if "schema.json" not in names:
        raise Refused("no format of models that is known", why=f"a zip of {', '.join(sorted(names)[:5])}", fix=_FIX)
    return "skops"


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    if name.startswith("/") or "\\" in name or "\0" in name or ".." in name.split("/"):
        raise Refused(f"the archive's entry {name!r} would leave its folder")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise Refused(f"the archive's entry {name!r} is a link")
    if entry.file_size > _MOST_RATIO * max(entry.compress_size, 1):
        raise Refused(f"the archive's entry {name!r} is packed beyond belief", why=f"{entry.file_size} bytes")


def _begin(content: bytes) -> str:
    return repr(content[:_SHOWN])[1:] if content else "nowhere: it is empty"
