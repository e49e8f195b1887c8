"""Content keys: equal keys mean equal work, so a finished call with the same key is the answer.

A key is made of parts: the code of the step and of all it reaches, its parameters, the digests of its inputs, the
versions of the packages it imports, the declared environment variables. Project files that it opened are checked when
a finished call is looked up (``pipelines.cache``).
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from headrace.pipelines.references import tree_digest
from headrace.pipelines.steps import StepSpec

FORMAT = 1
"""Changes when keys of an older headrace must not be found any more."""
_SHOWN = 12


def code_parts(spec: StepSpec) -> dict[str, Any]:
    """What a key has from the step itself: its name, ``code`` to digest, ``packages`` to version, ``environment``."""
    from headrace.pipelines.source import reached  # planning needs it; a kept plan does not

    code = reached(spec.function)
    return {
        "step": spec.reference,
        "code": dict(code.names),
        "packages": {"python": f"{sys.version_info.major}.{sys.version_info.minor}", **code.packages},
        "environment": environment_parts(spec.environment),
    }


def environment_parts(names: Iterable[str]) -> dict[str, str]:
    """Environment variable to a digest of its value, which may be a secret; ``unset`` without one."""
    return {name: _hidden(os.environ.get(name)) for name in sorted(set(names))}


def call_parts(parts: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """All parts of a call's key: those of the step, and its arguments with inputs as digests."""
    inputs: dict[str, Any] = {}
    params: dict[str, Any] = {}
    for name, tree in arguments.items():
        (inputs if _holds_reference(tree) else params)[name] = tree
    return {
        **parts,
        "params": {name: _short(tree) for name, tree in params.items()},
        "inputs": {name: tree_digest(tree) for name, tree in inputs.items()},
    }


def key_of(parts: Mapping[str, Any]) -> str:
    """The content key: SHA-256 over all parts, hexadecimal."""
    text = json.dumps([FORMAT, parts], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between the parts of two keys, one line each, for people."""
    lines = []
    for part in ("code", "params", "inputs", "packages", "environment"):
        old, new = before.get(part, {}), now.get(part, {})
        differing = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
        lines += [_change(part, name, old.get(name), new.get(name)) for name in differing]
    return lines


def _change(part: str, name: str, old: Any, new: Any) -> str:
    label = {"inputs": "input", "params": "parameter", "packages": "package", "environment": "variable"}.get(part, part)
    if old is None or new is None:
        return f"{label} {name} {'is new' if old is None else 'is gone'}"
    if part in {"code", "inputs", "environment"}:
        return f"{label} {name} changed"
    if any(isinstance(value, dict) and "$digest" in value for value in (old, new)):
        return f"{label} {name} changed"  # a long value is kept as its digest only
    if _reference(old) and _reference(old) == _reference(new):
        return _step_change(old, new)
    return f"{label} {name} changed from {_told(old)} to {_told(new)}"


def _step_change(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What differs in a step that was passed as a parameter."""
    which = "code" if old["code"] != new["code"] else "packages or environment variables"
    return f"the {which} of step {_reference(new).rpartition(':')[2]} changed"


def _reference(tree: Any) -> str:
    """``module:qualname`` of a step that was passed as a parameter; empty of anything else."""
    return str(tree["$step"]) if isinstance(tree, dict) and "$step" in tree else ""


def _told(tree: Any) -> str:
    return f"step {_reference(tree)}" if _reference(tree) else json.dumps(tree)


def _short(tree: Any) -> Any:
    """The tree itself when people can read it, else its digest; of a step that was passed, its name and digests."""
    if isinstance(tree, dict) and "$step" in tree:
        parts = dict(tree["parts"])
        return {"$step": tree["$step"], "code": tree_digest(parts.pop("code", {})), "other": tree_digest(parts)}
    text = json.dumps(tree, sort_keys=True)
    return tree if len(text) <= 200 else {"$digest": tree_digest(tree)}  # noqa: PLR2004 - a line or two


def _holds_reference(tree: Any) -> bool:
    if isinstance(tree, dict):
        return "$ref" in tree or any(_holds_reference(part) for part in tree.values())
    return isinstance(tree, list) and any(_holds_reference(part) for part in tree)


def _hidden(value: str | None) -> str:
    return "unset" if value is None else hashlib.sha256(value.encode()).hexdigest()[:_SHOWN]
