"""The configuration of a Keras model: read, and found to be of Keras' own layers alone, without Keras.

Keras makes Python objects of it: each mapping with a ``class_name`` becomes what its ``module`` and name mean, a string
as a vocabulary becomes the lines of that file, and a mapping without a module goes an older way with fewer questions.
So each must be on a list first, and what a model does not need to score (losses, metrics, optimizers) is left out.
"""

import json
from typing import Any

from headrace.engines.keras.listed import FUNCTIONS, LISTED, VALUES
from headrace.errors import IntegrityError, Refused

_WHERE = "config.json"
_OBJECT = frozenset({"class_name", "module", "registered_name"})
_DROPPED = "compile_config"
_FIX = "build the model of Keras' own layers, or export it to ONNX"


def checked(content: bytes) -> bytes:
    """The configuration without what the model does not need to score.

    Raises:
        Refused: It names a class, a function or a file that is not listed, or code.
        IntegrityError: It is no configuration of a model.
    """
    try:
        config = json.loads(content)
        _check(config)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise IntegrityError("the model cannot be loaded", where=_WHERE, why=repr(error)[:300]) from error
    if not isinstance(config, dict) or config.get("class_name") not in {"Sequential", "Functional"}:
        raise Refused("the file is no sequential and no functional model", where=_WHERE, why=_named(config), fix=_FIX)
    return json.dumps(config).encode()


def _check(value: Any) -> None:
    if isinstance(value, dict):
        value.pop(_DROPPED, None)
        if not _OBJECT.isdisjoint(value):
            _check_object(value)
        if isinstance(value.get("vocabulary"), (str, dict)):
            raise Refused("a layer takes its vocabulary from a file", where=_WHERE, fix="give it as a list")
        for inner in value.values():
            _check(inner)
    elif isinstance(value, list):
        for inner in value:
            _check(inner)


def _check_object(value: dict[str, Any]) -> None:
    """Raise ``Refused`` unless an object is of a listed class, an activation, or a plain value."""
    module, name, config = str(value.get("module", "")), value["class_name"], value["config"]
    if not module and name in VALUES:
        return
    if name == "function":
        known, names = module == "builtins" and config in FUNCTIONS, {None, name, config}
    else:
        known, names = isinstance(config, dict) and name in LISTED.get(module, ()), {None, name}
    if not known or value.get("registered_name") not in names:
        raise Refused("the model is of more than Keras' own layers", where=_WHERE, why=_named(value), fix=_FIX)


def _named(value: Any) -> str:
    """What an object says that it is, shortened."""
    if not isinstance(value, dict):
        return f"it is {str(value)[:50]!r}"
    parts = {key: value.get(key) for key in ("module", "class_name", "registered_name")}
    if value.get("class_name") == "function":
        parts["config"] = value.get("config")
    return ", ".join(f"{key} {str(part)[:80]!r}" for key, part in parts.items() if part is not None) or "it names none"
