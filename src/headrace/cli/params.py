"""Parameters of a model as the command line takes them."""

import json
from collections.abc import Iterable
from typing import Any

from headrace.errors import UsageError


def read_params(texts: Iterable[str]) -> dict[str, Any]:
    """Values by name, of ``NAME=VALUE`` each; a value that is no JSON is text.

    Raises:
        UsageError: One has no value.
    """
    found = {}
    for text in texts:
        name, given, value = text.partition("=")
        if not given:
            raise UsageError(f"--param {text} has no value", fix=f"--param {text}=VALUE")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found
