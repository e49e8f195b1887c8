"""Texts of the command line as values: what the annotation of a parameter makes of them."""

import json
from typing import Any

from headrace.errors import UsageError
from headrace.pipelines.handover import plain

_EXAMPLES = {int: "20", float: "0.1", bool: "true"}
_TRUE, _FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}


def read_text(text: str, annotation: Any, name: str) -> Any:
    """A command line's text as its annotation wants it; JSON or the text itself without one.

    Raises:
        UsageError: The text cannot be read so.
    """
    kind = plain(annotation)
    try:
        if kind is str:
            return text
        if kind is bool:
            return _boolean(text)
        if kind in {int, float}:
            return kind(text)
        return json.loads(text)
    except ValueError as error:
        if kind is Any:
            return text
        due = getattr(kind, "__name__", str(kind))
        example = _EXAMPLES.get(kind, "'[\"a\", 1]', as JSON")
        raise UsageError(f"{name} is {text!r}", why=f"{due} is due", fix=f"for example {name}={example}") from error


def _boolean(text: str) -> bool:
    if text.lower() not in _TRUE | _FALSE:
        raise ValueError(text)
    return text.lower() in _TRUE
