"""What a function's behaviour depends on in the project's source code, read from the source and not by running it."""

import hashlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Reached:
    """What a function reaches.

    Attributes:
        names: ``module:name`` to digest of its code.
        packages: Distribution to version.
    """

    names: Mapping[str, str]
    packages: Mapping[str, str]


def reached(function: Callable[..., Any]) -> Reached:
    """Everything that ``function`` reaches."""
    file = sys.modules[function.__module__].__file__ or ""
    return Reached({function.__module__: hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]}, {})
