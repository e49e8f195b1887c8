"""``headrace models predict``: score a dataset with a model."""

from typing import TYPE_CHECKING

import click

from headrace.cli.output import Output, options
from headrace.cli.params import read_params
from headrace.errors import UsageError

if TYPE_CHECKING:
    from headrace.journey.predictions import Predicted


@click.command()
@click.argument("reference")
@click.option("--data", required=True, help="The dataset version to score, such as orders or orders@2.")
@click.option("--to", required=True, help="The dataset that the scores become a version of.")
@click.option(
    "--keep", multiple=True, help="A column of the data to keep beside the scores; may repeat. All by default."
)
@click.option("--param", "params", multiple=True, help="A parameter of the model: NAME=VALUE; may repeat.")
@click.option("--only-outputs", is_flag=True, help="Keep no column of the data.")
@click.option(
    "--new-contract", is_flag=True, help="Infer the contract of the result anew: its columns changed on purpose."
)
@options
def predict(  # noqa: PLR0913 - one parameter for each option
    out: Output,
    reference: str,
    *,
    data: str,
    to: str,
    keep: tuple[str, ...],
    params: tuple[str, ...],
    only_outputs: bool,
    new_contract: bool,
) -> None:
    """Score every row of a dataset with a model (late, late@3, late@champion), whatever its size."""
    from headrace.assembly import open_platform
    from headrace.datasets.contract import expectations
    from headrace.datasets.keep import Terms
    from headrace.journey.predictions import Predictions, predicted

    if keep and only_outputs:
        raise UsageError("--keep and --only-outputs exclude each other", fix="leave one out")
    platform = open_platform()
    terms = Terms(expectations(platform.settings.contracts, to), fresh=new_contract)
    asked = Predictions(reference, data, to, keep or (() if only_outputs else None), terms, read_params(params))
    with out.progress("scored") as told:
        done = predicted(platform.stores(), platform.runtime, asked, told)
    out.result(_said(done), [_line(done)])


def _said(done: "Predicted") -> dict[str, object]:
    return {
        **done.version.to_json(),
        "predicted_by": str(done.model),
        "predicted_from": str(done.data),
        "new": done.new,
    }


def _line(done: "Predicted") -> str:
    when = "" if done.new else " (before)"
    return f"{done.version}: {done.version.rows:,} rows of {done.data} scored by {done.model}{when}"
