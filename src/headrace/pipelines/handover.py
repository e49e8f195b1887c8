"""Handing values over: the consumer's annotation decides what it gets.

A table parameter annotated ``narwhals.LazyFrame`` is scanned lazily, ``pandas.DataFrame`` gets pandas, whoever wrote
the table; ``Reference`` gets where it lies; no annotation gets what was returned.
"""

import base64
import json
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from headrace.errors import UsageError
from headrace.pipelines.ports import Codec
from headrace.pipelines.references import Reference, tree_digest
from headrace.pipelines.values import Codecs, named_type
from headrace.storage import manifest
from headrace.storage.files import Files


class Loader:
    """Loads references from Files; a folder is fetched and verified once per loader.

    Args:
        files: Where artifacts lie.
        codecs: Codec by name or top-level module.
    """

    def __init__(self, files: Callable[[], Files], codecs: Codecs) -> None:
        self._files, self._codecs = files, codecs
        self._fetched: dict[tuple[str, str], Path] = {}

    def load(self, reference: Reference, annotation: Any = Any) -> Any:
        """The value of ``reference`` as ``annotation`` wants it.

        Raises:
            IntegrityError: Its files are not the ones that were written.
            UsageError: It cannot be handed over so.
        """
        if Reference in alternatives(annotation):
            return reference
        return self._value(reference.tree, annotation, reference)

    def _value(self, tree: Any, wanted: Any, owner: Reference) -> Any:
        if isinstance(tree, list):
            inner = _inner(wanted)
            return [self._value(part, inner, owner) for part in tree]
        if not isinstance(tree, dict):
            return float(tree) if type(tree) is int and alternatives(wanted) == (float,) else tree
        mark = next(iter(tree), "")
        unpack = _UNPACKERS.get(mark)
        if unpack is not None:
            return unpack(self, tree, wanted, owner)
        inner = _inner(wanted, -1)
        return {name: self._value(part, inner, owner) for name, part in tree.items()}

    def _item(self, tree: Mapping[str, Any], wanted: Any, owner: Reference) -> Any:
        if Reference in alternatives(wanted):
            part = dict(tree)
            return Reference(part, tree_digest(part), owner.folder, owner.manifest)
        codec, annotation = self._codec_for(tree, wanted)
        return codec.load(self._folder(owner) / tree["$item"], annotation)

    def _codec_for(self, tree: Mapping[str, Any], wanted: Any) -> tuple[Codec, Any]:
        """The first of the annotation's codecs that loads this form; when it names none, the codec that saved it."""
        refused: list[tuple[str, str]] = []
        for kind in alternatives(wanted):
            origin = typing.get_origin(kind) or kind
            asked = self._asked(origin)
            if asked is not None and asked.form == tree["form"]:
                return asked, origin
            if asked is not None:
                refused.append((origin.__qualname__, asked.form))
        if refused:
            name, form = refused[0]
            raise UsageError(
                f"a {tree['type'].partition(':')[2]} cannot be handed over as {name}",
                why=f"it is stored as {tree['form']}, and {name} is loaded from {form}",
                fix="change the parameter's annotation, or return the other type",
            )
        saver = self._codecs(tree["codec"])
        if saver is None:
            raise UsageError(f"no codec named {tree['codec']!r} is installed", why="a stored value needs it")
        return saver, named_type(tree["type"])

    def _asked(self, kind: Any) -> Codec | None:
        module = getattr(kind, "__module__", "").partition(".")[0]
        codec = self._codecs(module) if module not in {"", "builtins", "typing"} else None
        return codec if codec is not None and codec.fits(kind) else None

    def _json(self, tree: Mapping[str, Any], wanted: Any, owner: Reference) -> Any:
        text = (self._folder(owner) / tree["$json"]).read_bytes()
        return self._value(json.loads(text), wanted, owner)

    def _blob(self, tree: Mapping[str, Any], wanted: Any, owner: Reference) -> Any:  # noqa: ARG002 - one signature
        path = self._folder(owner) / tree["$blob"]
        return path if tree.get("path") else path.read_bytes()

    def _ref(self, tree: Mapping[str, Any], wanted: Any, owner: Reference) -> Any:  # noqa: ARG002 - one signature
        reference = Reference.from_json(tree["$ref"])
        return reference if Reference in alternatives(wanted) else self._value(reference.tree, wanted, reference)

    def _tuple(self, tree: Mapping[str, Any], wanted: Any, owner: Reference) -> Any:
        parts = [self._value(part, _inner(wanted, i), owner) for i, part in enumerate(tree["$tuple"])]
        return named_type(tree["type"])(*parts) if "type" in tree else tuple(parts)

    def _class(self, tree: Mapping[str, Any], wanted: Any, owner: Reference) -> Any:  # noqa: ARG002 - one signature
        kind = named_type(tree["$class"])
        if not is_dataclass(kind):
            raise UsageError(f"{tree['$class']} is no longer a dataclass", fix="run the step again")
        hints = hints_of(kind)
        values = {n: self._value(p, hints.get(n, Any), owner) for n, p in tree["fields"].items()}
        made: Any = object.__new__(typing.cast("type", kind))
        for name, value in values.items():
            object.__setattr__(made, name, value)
        return made

    def _set(self, tree: Mapping[str, Any], wanted: Any, owner: Reference) -> Any:
        (mark, parts), inner = next(iter(tree.items())), _inner(wanted)
        values = [self._value(part, inner, owner) for part in parts]
        return set(values) if mark == "$set" else frozenset(values)

    def _dict(self, tree: Mapping[str, Any], wanted: Any, owner: Reference) -> Any:
        inner = _inner(wanted, -1)
        return {self._value(n, Any, owner): self._value(p, inner, owner) for n, p in tree["$dict"]}

    def _folder(self, reference: Reference) -> Path:
        known = (reference.folder, reference.manifest)
        if known not in self._fetched:
            self._fetched[known] = manifest.fetch(self._files(), reference.folder, reference.manifest)
        return self._fetched[known]


def _unpack_when(_: Loader, tree: Mapping[str, Any], *__: Any) -> Any:
    import datetime as dt

    kind, text = tree["$when"], tree["text"]
    if kind == "timedelta":
        days, seconds, microseconds = (int(part) for part in text.split())
        return dt.timedelta(days, seconds, microseconds)
    return dt.UTC if kind == "timezone" else getattr(dt, kind).fromisoformat(text)


_UNPACKERS: dict[str, Callable[..., Any]] = {
    "$item": Loader._item,  # noqa: SLF001
    "$blob": Loader._blob,  # noqa: SLF001
    "$json": Loader._json,  # noqa: SLF001
    "$ref": Loader._ref,  # noqa: SLF001
    "$tuple": Loader._tuple,  # noqa: SLF001
    "$class": Loader._class,  # noqa: SLF001
    "$set": Loader._set,  # noqa: SLF001
    "$frozenset": Loader._set,  # noqa: SLF001
    "$dict": Loader._dict,  # noqa: SLF001
    "$when": _unpack_when,
    "$float": lambda _, tree, *__: float(tree["$float"]),
    "$bytes": lambda _, tree, *__: base64.b64decode(tree["$bytes"]),
    "$path": lambda _, tree, *__: Path(tree["$path"]),
    "$enum": lambda _, tree, *__: named_type(tree["$enum"])[tree["name"]],
    "$type": lambda _, tree, *__: named_type(tree["$type"]),
    "$step": lambda _, tree, *__: named_type(tree["$step"]),
}


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """The types of a union without ``None`` and ``Annotated``; of anything else, itself."""
    if typing.get_origin(annotation) is typing.Annotated:
        return alternatives(annotation.__origin__)
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        return tuple(kind for a in typing.get_args(annotation) if a is not type(None) for kind in alternatives(a))
    return (annotation,)


def plain(annotation: Any) -> Any:
    """The annotation without ``Annotated`` and ``| None``; of several others, the first."""
    return next(iter(alternatives(annotation)), Any)


def hints_of(target: Any) -> dict[str, Any]:
    """Annotations of a function or class, evaluated; those that cannot be are left out."""
    found = getattr(target, "__annotations__", {})
    if not any(isinstance(hint, str) for hint in found.values()) and isinstance(target, types.FunctionType):
        return dict(found)
    try:
        return typing.get_type_hints(target, include_extras=True)
    except (NameError, AttributeError, TypeError):
        return {name: hint for name, hint in found.items() if not isinstance(hint, str)}


def _inner(wanted: Any, index: int = 0) -> Any:
    """What a container's annotation says about the part at ``index`` (-1: values of a mapping)."""
    whole = next((kind for kind in alternatives(wanted) if typing.get_args(kind)), Any)
    arguments = typing.get_args(whole)
    if not arguments:
        return Any
    if typing.get_origin(whole) is tuple and Ellipsis not in arguments:
        return arguments[index] if index < len(arguments) else Any
    return arguments[-1] if index == -1 else arguments[0]
