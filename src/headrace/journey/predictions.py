"""Score a dataset version with a model version into another dataset, whatever its size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from headrace.datasets import catalogue, contents
from headrace.datasets.keep import USUAL, Terms, keep, unnumbered
from headrace.datasets.version import TABLE, DatasetVersion
from headrace.errors import SignatureError, UsageError
from headrace.models import registry
from headrace.models.params import NO_PARAMS, Params, checked_params
from headrace.models.runtime import Runtime
from headrace.models.version import ModelVersion
from headrace.refs import checked_name
from headrace.serving.offline import Scoring
from headrace.serving.versions import load_model
from headrace.storage.ledger import Fact, Ledger
from headrace.storage.stores import Stores
from headrace.storage.tables import TableFacts

KIND = "dataset.predicted"
_UNSAID = {"params": NO_PARAMS}
Told = Callable[[int, int], None]
"""Hears how many rows are done, and of how many."""


@dataclass(frozen=True)
class Predictions:
    """What is to be scored, and where to.

    Attributes:
        model: ``late``, ``late@3`` or ``late@champion``.
        data: The dataset version that is scored.
        to: The dataset that the scores become a version of.
        keep: Columns of ``data`` that stay beside the outputs; None for all.
        terms: What the result is held against.
        params: What the model is told besides the rows.
    """

    model: str
    data: str
    to: str
    keep: Sequence[str] | None = None
    terms: Terms = USUAL
    params: Params = field(default_factory=dict)


@dataclass(frozen=True)
class Predicted:
    """What was scored.

    Attributes:
        version: The result.
        model: What scored.
        data: What was scored.
        new: Whether it was scored now, and not before.
    """

    version: DatasetVersion
    model: ModelVersion
    data: DatasetVersion
    new: bool


def predicted(
    stores: Stores, runtime: Callable[[str], Runtime], asked: Predictions, told: Told = lambda *_: None
) -> Predicted:
    """Score every row, in bounded memory; the same model, data and columns again are the version that they made.

    Args:
        stores: Where all of it is kept.
        runtime: The runtime for a model format.
        asked: What is to be scored.
        told: Hears the progress.

    Raises:
        NotFound: No such model or dataset.
        SignatureError: The rows do not fit the model, or a parameter; names it. Nothing is stored.
        RunFailed: The model did not score; names the rows.
        ParityFailed: The model no longer answers its recorded rows as it did.
        DataRefused: The result breaks the contract of its dataset.
    """
    model, data = registry.find(stores.ledger, asked.model), catalogue.find(stores.ledger, asked.data)
    checked_name(asked.to, of="dataset name")
    if asked.to == data.name:
        raise UsageError(f"dataset {data.name} cannot be scored into itself", fix=f"name another: {data.name}-scored")
    params = checked_params(model.signature.params, asked.params)
    origin: dict[str, Any] = {
        "model": str(model),
        "model_digest": model.digest,
        "dataset": str(data),
        "dataset_digest": data.digest,
        "keep": None if asked.keep is None else list(asked.keep),
        **({"params": params} if params else {}),
    }
    for fact in reversed(stores.ledger.query(KIND, asked.to)):
        known_by = {**_UNSAID, **fact.body}
        if all(known_by[key] == value for key, value in {**_UNSAID, **origin}.items()):
            known = catalogue.find(stores.ledger, f"{asked.to}@{fact.body['version']}")
            return Predicted(known, model, data, new=False)
    load = partial(load_model, stores.ledger, stores.files, runtime, str(model))
    scoring = Scoring(model, load, lambda done: told(done, data.rows), keep=asked.keep, params=params)
    with stores.folder("predict-") as folder:
        facts = _written(stores, data, folder, scoring)
        made = unnumbered(asked.to, facts, licence=_licence(data, model), source=f"{model} on {data}")
        version = keep(
            stores,
            made,
            folder,
            terms=asked.terms,
            also=lambda kept: Fact(KIND, kept.name, {"version": kept.version, **origin}),
        )
    return Predicted(version, model, data, new=True)


def origins(ledger: Ledger, version: DatasetVersion) -> list[Fact]:
    """What is recorded of how a version was scored; none for one that was put."""
    return [fact for fact in ledger.query(KIND, version.name) if fact.body["version"] == version.version]


def _written(stores: Stores, data: DatasetVersion, folder: Path, scoring: Scoring) -> TableFacts:
    try:
        return stores.tables.write(contents.table(stores, data), folder / TABLE, through=scoring)
    except SignatureError as error:
        where = ", ".join(filter(None, (str(data), error.where)))
        raise SignatureError(error.what, where=where, why=error.why, fix=error.fix) from error


def _licence(data: DatasetVersion, model: ModelVersion) -> str:
    """Of the rows and of the model, in SPDX terms; none where nobody said what may be done with the rows."""
    return " AND ".join(dict.fromkeys([data.licence, model.licence])) if data.licence else ""
