"""Formats of models, told by what files hold and never by what users call them; what would run code is refused."""

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from headrace.errors import Refused
from headrace.models.archives import ZIPPED, opened
from headrace.models.onnx_parts import check_whole
from headrace.models.protobuf import LENGTH, NUMBER, fields
from headrace.models.reading import read_file, read_folder
from headrace.storage import manifest

SAVED_MODEL = "saved_model.pb"
"""The file that makes a folder a SavedModel."""

ML_MODEL = "MLmodel"
"""The file that makes a folder an MLflow model."""

_FLAVORS = re.compile(rb"^flavors:", re.MULTILINE)
_SHOWN = 16
_ONNX_FIELDS = frozenset(b"\x12\x1a\x22\x28\x32\x3a\x42")  # what follows ir_version: producer, domain, graph, opset, …
# Pickles of protocol 2 and later; zlib, gzip, bzip2 and xz, as joblib compresses with.
_PICKLED = (b"\x80", b"x\x01", b"x\x5e", b"x\x9c", b"x\xda", b"\x1f\x8b", b"BZh", b"\xfd7zXZ")
_HDF5 = b"\x89HDF\r\n\x1a\n"
_FIX = "save it as ONNX, XGBoost JSON or UBJSON, LightGBM text, with skops, as a PyTorch program or as a .keras file"
_EXPORT = "torch.export.save(torch.export.export(model, example), 'model.pt2')"


def recognised(path: Path) -> tuple[str, dict[str, bytes]]:
    """The format of the model at ``path``, and its files as an artifact keeps them.

    A file is kept as ``model.<format>``, the files of a folder below a folder of that name.

    Raises:
        Refused: It is of no known format, would run code when loaded, or is or holds a link.
        UsageError: It cannot be read.
    """
    if path.is_dir():
        files = read_folder(path)
        with at(path):
            format_ = sniffed_folder(files)
        return format_, {f"model.{format_}/{name}": content for name, content in files.items()}
    content = read_file(path)
    with at(path):
        format_ = sniffed(content)
    return format_, {f"model.{format_}": content}


@contextmanager
def at(path: Path) -> Iterator[None]:
    """Say of what is refused in a ``with`` block where it is, and what to do, when that was not said."""
    try:
        yield
    except Refused as error:
        where, fix = error.where or str(path), error.fix or "save it again, or have it again, from where it was trained"
        raise Refused(error.what, where=where, why=error.why, fix=fix) from error


def sniffed_folder(files: Mapping[str, bytes]) -> str:
    """The format of a model that is a folder of files: ``tensorflow`` or ``mlflow``.

    Raises:
        Refused: It is of none.
    """
    graph = files.get(SAVED_MODEL)
    if graph is not None:
        if not _is_saved_model(graph):
            raise Refused("no SavedModel", where=SAVED_MODEL, why=f"it begins {_begin(graph)}")
        return "tensorflow"
    about = files.get(ML_MODEL)
    if about is not None:
        if not _FLAVORS.search(about):
            raise Refused("no MLflow model", where=ML_MODEL, why="it lists no flavors")
        return "mlflow"
    why = f"it holds {', '.join(sorted(files)[:5]) or 'no file'}"
    raise Refused("no format of model folders that is known", why=why, fix=_meant(files))


def _meant(files: Mapping[str, bytes]) -> str:
    """Which folder to name instead: one below is a model where a folder of versions was named."""
    for name in sorted(files):
        folder, _, last = name.rpartition("/")
        if folder and last in {SAVED_MODEL, ML_MODEL, manifest.NAME}:
            return f"name the folder of one model: {folder} in it"
    return "name the folder of a SavedModel or of an MLflow model, or a file"


def sniffed(content: bytes) -> str:
    """The format of a model file.

    One of ``onnx``, ``xgboost``, ``lightgbm``, ``skops``, ``torch``, ``torchscript``, ``keras`` and ``litert``.

    Raises:
        Refused: It is of none of them, would run code when loaded, names files outside itself, or is ONNX that cannot
            be read to its end.
    """
    if content.startswith(ZIPPED):
        return _zipped(content)
    if content[4:8] == b"TFL3":
        return "litert"
    if content.startswith(b"tree\nversion=v"):
        return "lightgbm"
    if content.startswith(b"{") and b"learner" in content:
        return "xgboost"
    if content[:1] == b"\x08" and content[2:3] and content[2] in _ONNX_FIELDS:
        check_whole(content)
        return "onnx"
    if content.startswith(_HDF5):
        raise Refused(
            "a Keras model in HDF5 may hold code, and is not read", fix="save it again: model.save('model.keras')"
        )
    if content.startswith(_PICKLED):
        why = f"it begins {_begin(content)}"
        raise Refused("a pickle or joblib file runs code when it is loaded", why=why, fix=_FIX)
    raise Refused("no format of models that is known", why=f"it begins {_begin(content)}", fix=_FIX)


def _zipped(content: bytes) -> str:
    with opened(io.BytesIO(content)) as archive:
        names = set(archive.namelist())
    if "schema.json" in names:
        return "skops"
    inner = {name.partition("/")[2] for name in names}  # PyTorch's entries lie below one folder of any name
    if {"archive_format", "models/model.json"} <= inner:
        return "torch"
    if {"constants.pkl", "data.pkl", "version"} <= inner and any(name.startswith("code/") for name in inner):
        return "torchscript"
    if {"config.json", "model.weights.h5"} <= names:
        return "keras"
    if any(name.endswith(".pkl") for name in names):
        raise Refused("a PyTorch file that is a pickle runs code when it is loaded", fix=_EXPORT)
    if "serialized_exported_program.json" in names:
        raise Refused("a program that a PyTorch before 2.8 exported", fix="export it again with a newer one")
    raise Refused("no format of models that is known", why=f"a zip of {', '.join(sorted(names)[:5])}", fix=_FIX)


def _is_saved_model(content: bytes) -> bool:
    """Whether a file is the outermost message of a SavedModel: schema version 1, then graphs, and no more."""
    try:
        found = [(field.number, field.kind, field.value) for field in fields(content)]
    except ValueError:
        return False
    return list(dict.fromkeys(found)) == [(1, NUMBER, 1), (2, LENGTH, 0)]


def _begin(content: bytes) -> str:
    return repr(content[:_SHOWN])[1:] if content else "nowhere: it is empty"
