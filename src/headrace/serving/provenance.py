"""What a watched folder held when a version of it was loaded, as facts: nothing else tells what answered then."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from headrace.models.registry import versions
from headrace.models.version import ModelVersion
from headrace.serving.records import Prediction
from headrace.storage.ledger import Fact, Ledger, latest

KIND = "folder.loaded"

Heard = Callable[[ModelVersion, Path], None]
"""Told of a version that was loaded and proven, and of the folder that it came from."""


@dataclass(frozen=True)
class Loading:
    """One version as it was loaded.

    Attributes:
        version: Its number.
        digest: Of its files and signature, as the registry reckons it: equal to that of an equal registered version.
        format: Of the model.
        folder: Where it lay.
    """

    version: int
    digest: str
    format: str
    folder: str


def record(ledger: Ledger, version: ModelVersion, folder: Path) -> None:
    """Keep what was loaded; it is kept before it answers anybody."""
    loading = Loading(version.version, version.digest, version.format, str(folder))
    ledger.append([Fact(KIND, version.name, asdict(loading))])


def watched(ledger: Ledger) -> set[str]:
    """Names of the models that were ever served from a folder."""
    return {fact.subject for fact in ledger.query(KIND)}


def newest(ledger: Ledger, name: str) -> Loading | None:
    """What was loaded last under a name; None when no folder ever held it."""
    fact = latest(ledger, KIND, name)
    return Loading(**fact.body) if fact else None


def registered(ledger: Ledger, loading: Loading) -> ModelVersion | None:
    """The registered version that equals what was loaded; None when there is none."""
    return next((version for version in versions(ledger) if version.digest == loading.digest), None)


def answered(ledger: Ledger, prediction: Prediction) -> Loading | None:
    """What the winner of a prediction was loaded from; None when no folder is known to have held it."""
    name, _, number = prediction.winner.rpartition("@")
    for fact in reversed(ledger.query(KIND, name)):
        if str(fact.body["version"]) == number and fact.at * 1000 <= prediction.at_ms + 1:
            return Loading(**fact.body)
    return None
