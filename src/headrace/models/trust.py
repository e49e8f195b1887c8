"""What whoever registers a model says to trust, beyond what is known to do no harm; kept beside the model's files."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path

from headrace.errors import HeadraceError, IntegrityError, Refused
from headrace.models.formats import sniffed

TRUSTED_FILE = "trusted.json"
"""A list of words: names of types that a skops file may hold, or ``PICKLE``."""

PICKLE = "pickle"
"""The word for models that may run any code when they are loaded, as unpickling does."""

RUNS_CODE = frozenset({"mlflow"})
"""Formats that are loaded with that word and not otherwise."""


def words_of(folder: Path) -> frozenset[str]:
    """What is trusted in the model whose files are in ``folder``; nothing when nobody said so.

    Raises:
        IntegrityError: The file that says so cannot be read.
    """
    path = folder / TRUSTED_FILE
    try:
        words = json.loads(path.read_bytes()) if path.is_file() else []
    except (OSError, ValueError) as error:
        raise IntegrityError("what is trusted cannot be read", where=str(path), why=str(error)[:300]) from error
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise IntegrityError("what is trusted cannot be read", where=str(path), why="it is no list of words")
    return frozenset(words)


def check_trust(format_: str, words: Collection[str], path: Path, files: Mapping[str, bytes]) -> None:
    """Refuse a model that runs code when it is loaded, unless that was said to be trusted.

    Args:
        format_: Of the model.
        words: What is trusted.
        path: The model, as whoever imports it calls it.
        files: Its files as an artifact keeps them; one that is a model by itself, and runs nothing, is named.

    Raises:
        Refused: It runs code, and the word is missing.
    """
    if format_ not in RUNS_CODE or PICKLE in words:
        return
    plain = [path / name.partition("/")[2] for name, content in files.items() if _plain(content)]
    other = f"; or import {plain[0]} itself, which runs none" if plain else ""
    raise Refused(
        f"a model of format {format_} runs code when it is loaded",
        where=str(path),
        why="it may be pickled, or bring modules of its own",
        fix=f"if you know whose it is: headrace models import ... --trust {PICKLE}{other}",
    )


def _plain(content: bytes) -> bool:
    """Whether a file is a model that is loaded without running code."""
    try:
        return bool(sniffed(content))
    except HeadraceError:
        return False
