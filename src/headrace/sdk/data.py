"""Verbs over tables: ``hr.dataset`` and ``hr.split``."""

from typing import Any, cast

import narwhals as nw

from headrace.datasets import splits
from headrace.sdk import ambient
from headrace.sdk.decorators import step

Table = nw.LazyFrame[Any]


def dataset(reference: str) -> Table:
    """A dataset version as a lazy table: ``orders`` is the newest, ``orders@2`` that one.

    While a pipeline is planned the version is fixed, and its digest enters the key of every step that reads it.

    Args:
        reference: ``name`` or ``name@version``.

    Raises:
        NotFound: There is no such dataset or version.
    """
    from headrace.datasets.catalogue import KIND, find
    from headrace.datasets.contents import table
    from headrace.pipelines.references import Reference

    platform, plan = ambient.platform(), ambient.planning()
    version = find(platform.ledger(), reference)
    if plan is None:
        return table(platform.stores(), version)
    if "@" not in reference:
        plan.latest(platform.ledger(), KIND, version.name)
    stored = Reference.table(version.folder, version.digest, manifest=version.manifest, about={"rows": version.rows})
    return cast("Table", plan.source(str(version), stored))


@step
def split(rows: Table, *, by: str, test: float | None = None, at: Any = None) -> tuple[Table, Table]:
    """Part rows in the order of a column: ``fit, test = hr.split(rows, by="sold_at", test=0.2)``.

    Rows with equal ``by`` stay together; both parts come sorted by ``by``.

    Args:
        rows: The table.
        by: A column without nulls, such as the time of each row.
        test: Share of rows in the second part.
        at: The first value of the second part, instead of a share; ISO text for dates and times.
    """
    return splits.split(nw.from_native(rows).lazy(), by, test=test, at=at)
