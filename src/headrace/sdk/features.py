"""``hr.materialize``: the newest features of each entity, for requests to be joined with."""

from collections.abc import Sequence

from headrace.sdk import ambient
from headrace.sdk.decorators import step


def materialize(
    view: str, *, data: str, by: str | Sequence[str], columns: Sequence[str] = (), event_time: str = ""
) -> str:
    """Write the newest features of each entity where endpoints read them; as ``headrace features materialize``.

    It does its work outside a run too: it makes a version of a view, which endpoints that join the view read from then
    on. In a pipeline it is an effect: it waits for the gates above it, and what the reference means is fixed while the
    pipeline is planned.

    Args:
        view: Its name, as ``join`` of an endpoint names it.
        data: The dataset version that it is made from (``orders``, ``orders@3``).
        by: Column or columns that name an entity.
        columns: Its features; by default every other column.
        event_time: Column by which the newest row of an entity is told; needed where one has several rows.

    Returns:
        The version's digest, which ``headrace serving explain`` shows for each request that was joined with it.

    Raises:
        NotFound: No such dataset or version.
        UsageError: A column is missing, or of a type that cannot be a key or a feature; or an entity has more than one
            row and no event time tells the newest.
        DataRefused: A feature is infinite, or too large for a model.
        Refused: A deployed endpoint joins a feature that this version would not have.
        Conflict: Somebody else materializes this view now.
        Unavailable: The store cannot be written.
    """
    if ambient.planning() is not None:
        data = _fixed(data)
    return _materialized(view, data, [by] if isinstance(by, str) else list(by), list(columns), event_time)


@step(name="materialize", effect=True)
def _materialized(view: str, data: str, by: list[str], columns: list[str], event_time: str) -> str:
    from headrace.features.materialize import Materialization
    from headrace.journey.features import materialized

    return materialized(ambient.platform(), Materialization(view, data, by, columns, event_time)).version


def _fixed(data: str) -> str:
    """The version that a reference means now; a newer one makes the next run plan anew."""
    from headrace.datasets import catalogue

    ledger, plan = ambient.platform().ledger(), ambient.planning()
    dataset = catalogue.find(ledger, data)
    if plan is not None and "@" not in data:
        plan.latest(ledger, catalogue.KIND, dataset.name)
    return str(dataset)
