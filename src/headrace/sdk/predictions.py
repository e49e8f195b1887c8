"""``hr.score_dataset``: a dataset version scored into another."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headrace.errors import NotFound, UsageError
from headrace.models.version import ModelVersion
from headrace.sdk import ambient
from headrace.sdk.decorators import step

if TYPE_CHECKING:
    from headrace.journey.platform import Platform


def score_dataset(
    model: ModelVersion | str, *, data: str, to: str, keep: Sequence[str] | None = None, new_contract: bool = False
) -> str:
    """Score every row of a dataset version with a registered model, whatever its size; as ``headrace models predict``.

    The same model, data and columns again are the version that they made. It does its work outside a run too: it makes
    a version of a dataset, and changes nothing that serves. In a pipeline it is an effect; what the references mean is
    fixed while the pipeline is planned.

    Args:
        model: What ``register`` returned in the same run, or a reference (``late``, ``late@3``, ``late@champion``).
        data: The dataset version to score (``orders``, ``orders@2``); it has the model's inputs as columns.
        to: The dataset that the scores become a version of.
        keep: Columns of ``data`` that stay beside the outputs; None for all.
        new_contract: Infer the contract of the result anew: its columns changed on purpose.

    Returns:
        The version that holds the scores (``orders-scored@1``), for ``hr.dataset``.

    Raises:
        NotFound: No such model or dataset.
        SignatureError: The rows do not fit the model; names the column and row. Nothing is stored.
        DataRefused: The result breaks the contract of its dataset.
    """
    if ambient.planning() is not None:
        model, data = _fixed(model, data)
    return _scored(model, data, to, None if keep is None else list(keep), new_contract)


@step(name="score_dataset", effect=True)
def _scored(model: ModelVersion | str, data: str, to: str, keep: list[str] | None, new_contract: bool) -> str:
    from headrace.datasets.contract import expectations
    from headrace.datasets.keep import Terms
    from headrace.journey.predictions import Predictions, predicted

    platform = ambient.platform()
    terms = Terms(expectations(platform.settings.contracts, to), fresh=new_contract)
    asked = Predictions(_reference(platform, model), data, to, keep, terms)
    return str(predicted(platform.stores(), platform.runtime, asked).version)


def _fixed(model: ModelVersion | str, data: str) -> tuple[ModelVersion | str, str]:
    """The versions that references mean now; newer ones make the next run plan anew."""
    from headrace.datasets import catalogue
    from headrace.models import aliases, registry

    ledger, plan = ambient.platform().ledger(), ambient.planning()
    dataset = catalogue.find(ledger, data)
    if plan is not None:
        plan.latest(ledger, catalogue.KIND, dataset.name)
    if isinstance(model, str):
        found = registry.find(ledger, model)
        if plan is not None:
            for kind in (registry.KIND, aliases.KIND):
                plan.latest(ledger, kind, found.name)
        model = str(found)
    return model, str(dataset)


def _reference(platform: "Platform", model: ModelVersion | str) -> str:
    """The model as this project knows it: outside a run, ``register`` keeps it in a scratch registry only."""
    from headrace.models.registry import find

    if isinstance(model, ModelVersion):
        try:
            known = find(platform.ledger(), str(model)).digest == model.digest
        except NotFound:
            known = False
        if not known:
            raise UsageError(
                f"{model} is not registered here",
                why="outside a run hr.register leaves nothing behind",
                fix="headrace run the pipeline, or name a registered model: headrace models ls",
            )
    return str(model)
