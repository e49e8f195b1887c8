"""``models.toml`` in a watched folder: which versions of each model are loaded, what labels mean, how requests wait."""

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeGuard

from headrace.errors import HeadraceError, SettingsError
from headrace.models.reading import read_file
from headrace.refs import checked_name
from headrace.serving.endpoint import Endpoint, check_keys, read_endpoint

FILE = "models.toml"
KEYS = (
    *("versions", "labels", "deadline_ms", "default", "event_time", "log"),
    *("max_batch_rows", "max_wait_ms", "max_queue_rows", "policy"),
)
"""Of ``[model.<name>]``."""

POLL_S = 1.0
_DEADLINE_MS = 5000.0

Versions = int | tuple[int, ...] | Literal["all"]
"""The newest so many, exactly these, or all."""


@dataclass(frozen=True)
class ModelSettings:
    """How one model of a folder is served.

    Attributes:
        endpoint: Its endpoint, without a schedule.
        versions: Which versions are loaded; the newest of them that works answers who asks for none.
        labels: Label to version.
    """

    endpoint: Endpoint
    versions: Versions = 1
    labels: Mapping[str, int] = field(default_factory=dict)

    def chosen(self, numbers: Sequence[int]) -> list[int]:
        """Those of ``numbers``, newest first, that are to be loaded.

        Args:
            numbers: Versions that can be served, newest first.
        """
        if isinstance(self.versions, int):
            return list(numbers[: self.versions])
        return [number for number in numbers if self.versions == "all" or number in self.versions]


@dataclass(frozen=True)
class FolderSettings:
    """How a folder is served.

    Attributes:
        poll_s: Seconds from one look to the next.
        models: Model to how it is served; others are served by the defaults.
        only_named: Whether only those models are served.
    """

    poll_s: float = POLL_S
    models: Mapping[str, ModelSettings] = field(default_factory=dict)
    only_named: bool = False

    def of(self, name: str) -> ModelSettings | None:
        """How a model is served; None when it is not to be."""
        if name not in self.models and self.only_named:
            return None
        return self.models.get(name) or model_settings(name, {})

    @property
    def labels(self) -> dict[tuple[str, str], int]:
        """Model and label to version."""
        return {(name, label): v for name, model in self.models.items() for label, v in model.labels.items()}


class Written:
    """``models.toml`` as it was read last; while it is wrong, what it said before holds.

    Args:
        folder: Where it is.

    Attributes:
        settings: What it says.
        wrong: Why it cannot be read; empty when it can.

    Raises:
        SettingsError: It cannot be read from the beginning.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read = self._seen = self._stamp()
        self.settings, self.wrong = read_settings(folder), ""

    def turned(self) -> bool:
        """Read it anew if it changed and was the same at two looks; whether it was."""
        before, self._seen = self._seen, self._stamp()
        if self._seen == self._read or self._seen != before:
            return False
        self._read = self._seen
        try:
            self.settings, self.wrong = read_settings(self._folder), ""
        except SettingsError as error:
            self.wrong = str(error)
        return True

    @property
    def settled(self) -> bool:
        """Whether it was the same at the last look as when it was read."""
        return self._seen == self._read

    def _stamp(self) -> tuple[int, ...]:
        try:
            about = (self._folder / FILE).stat()
        except OSError:
            return ()
        return about.st_size, about.st_mtime_ns, about.st_ctime_ns


def read_settings(folder: Path) -> FolderSettings:
    """What ``models.toml`` in ``folder`` says; the defaults when there is none.

    Raises:
        SettingsError: It is no TOML, a key is unknown, or a value has the wrong type.
    """
    path = folder / FILE
    if not os.path.lexists(path):
        return FolderSettings()
    try:
        said = tomllib.loads(read_file(path).decode())
    except (HeadraceError, ValueError) as error:
        raise SettingsError("settings cannot be read", where=str(path), why=str(error)) from error
    check_keys(said, ("poll_s", "model"), FILE)
    poll_s = said.get("poll_s", POLL_S)
    if type(poll_s) not in {int, float} or not 0 < poll_s <= 86_400:  # noqa: PLR2004 - a day
        raise SettingsError(f"poll_s is {poll_s!r}", where=FILE, why="seconds are due", fix="poll_s = 5")
    models = said.get("model", {})
    if not isinstance(models, dict) or not all(isinstance(table, dict) for table in models.values()):
        raise SettingsError("model is no table", where=FILE, fix="[model.NAME]")
    return FolderSettings(float(poll_s), {name: model_settings(name, table) for name, table in models.items()})


def model_settings(name: str, table: Mapping[str, Any]) -> ModelSettings:
    """What ``[model.<name>]`` says.

    Raises:
        SettingsError: A key is unknown, or a value has the wrong type.
    """
    where = f"[model.{name}] of {FILE}"
    check_keys(table, KEYS, where)
    rest = {key: value for key, value in table.items() if key not in {"versions", "labels"}}
    try:
        checked_name(name, of="model")
        labels = _labels(table.get("labels", {}))
        endpoint = read_endpoint(name, {"schedule": [], "deadline_ms": _DEADLINE_MS, **rest})
    except HeadraceError as error:
        raise SettingsError(error.what, where=where, why=error.why, fix=error.fix) from None
    if not endpoint.batching.max_wait_s < endpoint.deadline_s:
        why = "no batch may gather until the deadline, and that lies ahead"
        raise SettingsError("deadline_ms is too short", where=where, why=why, fix="deadline_ms = 5000")
    versions = table.get("versions", 1)
    if not _is_choice(versions):
        fix = 'versions = 2 for the newest two, versions = [3, 5] for exactly these, or versions = "all"'
        raise SettingsError(f"versions is {versions!r}", where=where, fix=fix)
    return ModelSettings(endpoint, _choice(versions), labels)


def _choice(versions: Any) -> Versions:
    return tuple(sorted(versions)) if isinstance(versions, list) else versions


def _labels(said: Any) -> Mapping[str, int]:
    if not isinstance(said, dict) or not all(map(_is_number, said.values())):
        raise SettingsError(f"labels is {said!r}", why="versions are numbers", fix="labels = { stable = 3 }")
    return {checked_name(label, of="label"): number for label, number in said.items()}


def _is_choice(versions: Any) -> bool:
    if isinstance(versions, list):
        return bool(versions) and all(map(_is_number, versions))
    return versions == "all" or _is_number(versions)


def _is_number(value: Any) -> TypeGuard[int]:
    return type(value) is int and value > 0
