"""Packing values: JSON with marks, and files beside it for what is not JSON.

``{"$item": "0", "codec": "…"}`` is a value that a codec keeps in the folder ``0``; ``$blob`` is bytes or a path kept as
a file; ``$ref`` another stored value; everything else (``$tuple``, ``$class``, ``$enum``, …) is told by its text.
"""

import base64
import hashlib
import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from headrace.errors import RunFailed, UsageError
from headrace.pipelines.ports import Codec
from headrace.pipelines.references import Reference, tree_digest

_SCALARS = (type(None), bool, int, str)
_SMALL_BYTES = 1024
_LONG_BYTES = 32 * 1024
Codecs = Callable[[str], Codec | None]


class Packer:
    """Turns values into JSON trees, writing files as needed.

    Args:
        codecs: Codec by the top-level module of a type.
        folder: Makes, once it is needed, an empty folder for files; without it only JSON values can be packed.
    """

    def __init__(self, codecs: Codecs | None = None, folder: Callable[[], Path] | None = None) -> None:
        self._codecs, self._folder, self._count = codecs, folder, 0

    def pack(self, value: Any, at: str = "value") -> Any:
        """The tree of ``value``; ``at`` names it in messages.

        Raises:
            UsageError: No codec is known for a part of it.
        """
        if isinstance(value, _SCALARS) and type(value) in _SCALARS:
            return value
        if isinstance(value, float):
            return float(value) if _finite(value) else {"$float": repr(float(value))}
        for kinds, packed in _PACKERS:
            if isinstance(value, kinds):
                return packed(self, value, at)
        return self._special(value, at)

    def _special(self, value: Any, at: str) -> Any:
        module = type(value).__module__.partition(".")[0]
        if module == "datetime":
            return _pack_when(value)
        if module == "numpy" and getattr(value, "shape", None) == () and type(value).__name__ != "ndarray":
            return self.pack(value.item(), at)
        if module == "enum" or hasattr(type(value), "__members__"):
            return {"$enum": type_name(type(value)), "name": value.name}
        if is_dataclass(value) and not isinstance(value, type):
            parts = {f.name: self.pack(getattr(value, f.name), f"{at}.{f.name}") for f in fields(value)}
            return {"$class": type_name(type(value)), "fields": parts}
        if isinstance(value, type):
            return {"$type": type_name(value)}
        return self._item(value, at)

    def _item(self, value: Any, at: str) -> Any:
        codec = codec_of_type(type(value), self._codecs) if self._codecs else None
        if codec is None or self._folder is None:
            raise _unknown(value, at, stored=self._folder is not None)
        name = self._next()
        folder = self._folder() / name
        folder.mkdir()
        stored = codec.save(value, folder)
        return {
            "$item": name,
            "codec": stored.codec,
            "form": stored.form,
            "digest": stored.digest,
            "about": dict(stored.about),
            "type": type_name(type(value)),
        }

    def _list(self, value: list[Any], at: str) -> Any:
        return [self.pack(part, f"{at}[{i}]") for i, part in enumerate(value)]

    def _tuple(self, value: tuple[Any, ...], at: str) -> Any:
        parts = self._list(list(value), at)
        return {"$tuple": parts, "type": type_name(type(value))} if hasattr(value, "_fields") else {"$tuple": parts}

    def _set(self, value: set[Any] | frozenset[Any], at: str) -> Any:
        kind = "$set" if isinstance(value, set) else "$frozenset"
        return {kind: sorted((self.pack(part, at) for part in value), key=repr)}

    def _mapping(self, value: Mapping[Any, Any], at: str) -> Any:
        if all(type(name) is str and not name.startswith("$") for name in value):
            return {name: self.pack(part, f"{at}[{name!r}]") for name, part in value.items()}
        return {"$dict": [[self.pack(name, at), self.pack(part, f"{at}[{name!r}]")] for name, part in value.items()]}

    def _bytes(self, value: bytes, at: str) -> Any:  # noqa: ARG002 - one signature for all packers
        if self._folder is None or len(value) <= _SMALL_BYTES:
            return {"$bytes": base64.b64encode(value).decode()}
        name = self._next()
        (self._folder() / name).write_bytes(value)
        return {"$blob": name, "sha256": hashlib.sha256(value).hexdigest()}

    def _path(self, value: Path, at: str) -> Any:
        if self._folder is None:
            return {"$path": str(value)}
        if not value.exists():
            raise RunFailed(f"no file {str(value)!r}", where=at, why="a returned path must exist when its step ends")
        name = self._next()
        target = self._folder() / name / value.name
        target.parent.mkdir()
        import shutil  # few steps return paths

        if value.is_dir():
            shutil.copytree(value, target)
        else:
            shutil.copy2(value, target)
        return {"$blob": f"{name}/{value.name}", "path": True, "sha256": _path_digest(target)}

    def _reference(self, value: Reference, at: str) -> Any:  # noqa: ARG002 - one signature for all packers
        return {"$ref": value.to_json()}

    def spill(self, tree: Any) -> Any:
        """The tree, or a mark for it when it is too long for a fact: then it lies in a file; a tuple part by part."""
        text = json.dumps(tree).encode()
        if self._folder is None or len(text) <= _LONG_BYTES:
            return tree
        if isinstance(tree, dict) and "$tuple" in tree:
            share = [self.spill(part) if len(json.dumps(part)) > _SMALL_BYTES else part for part in tree["$tuple"]]
            return {**tree, "$tuple": share}
        name = self._next()
        (self._folder() / name).write_bytes(text)
        return {"$json": name, "digest": tree_digest(tree)}

    def _next(self) -> str:
        self._count += 1
        return str(self._count - 1)


_PACKERS: tuple[tuple[Any, Callable[[Packer, Any, str], Any]], ...] = (
    (Reference, Packer._reference),  # noqa: SLF001
    (list, Packer._list),  # noqa: SLF001
    (tuple, Packer._tuple),  # noqa: SLF001
    ((set, frozenset), Packer._set),  # noqa: SLF001
    (dict, Packer._mapping),  # noqa: SLF001
    (bytes, Packer._bytes),  # noqa: SLF001
    (Path, Packer._path),  # noqa: SLF001
)


def codec_of_type(kind: type, codecs: Codecs) -> Codec | None:
    """The codec for values of a class: that of the nearest ancestor whose package has one."""
    for ancestor in kind.__mro__:
        codec = codecs(ancestor.__module__.partition(".")[0])
        if codec is not None and codec.fits(kind):
            return codec
    return None


def type_name(kind: type) -> str:
    """``module:Class``, as marks name types."""
    return f"{kind.__module__}:{kind.__qualname__}"


def named_type(name: str) -> Any:
    """The class that ``type_name`` named."""
    module, _, path = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


def _finite(value: float) -> bool:
    return value - value == 0


def _pack_when(value: Any) -> Any:
    kind = type(value).__name__
    if kind == "timedelta":
        return {"$when": kind, "text": f"{value.days} {value.seconds} {value.microseconds}"}
    return {"$when": kind, "text": str(value) if kind == "timezone" else value.isoformat()}


def _path_digest(path: Path) -> str:
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as reading:
            content = hashlib.file_digest(reading, "sha256").hexdigest()
        total.update(f"{file.relative_to(path)} {content}\n".encode())
    return total.hexdigest()


def _unknown(value: Any, at: str, *, stored: bool) -> UsageError:
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    if stored:
        fix = "return a table, a fitted estimator, an array, a dataclass, a path or JSON values"
        return UsageError(f"a {name} cannot be stored", where=at, why="no codec is known for it", fix=fix)
    fix = "compute it in a @hr.step and pass that step's output"
    return UsageError(f"a {name} cannot be an argument of a step", where=at, why="it is not a JSON value", fix=fix)
