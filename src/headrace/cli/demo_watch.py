"""The demo after serving: labels that come a day later, skew, drift, calibration, and one answer explained."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from headrace.cli.demo_story import Story
from headrace.errors import RunFailed
from headrace.journey.explain import explain
from headrace.models.signature import is_null
from headrace.monitoring.alerts import alerts
from headrace.monitoring.labels import Label, add
from headrace.monitoring.observe import observe
from headrace.serving.log import RequestLog

if TYPE_CHECKING:
    from headrace.journey.platform import Platform

LABEL_DELAY = timedelta(days=1)
_PAGE = 2000
Row = dict[str, Any]


def labelled(platform: "Platform", rows: Sequence[Row], ids: Sequence[str]) -> None:
    """Keep what became of each flight, known a day after its question; flights that never arrived have no label."""
    known = (
        Label(identifier, float(row["late"]), (row["asked"] + LABEL_DELAY).isoformat())
        for row, identifier in zip(rows, ids, strict=True)
        if identifier and row["late"] is not None
    )
    add(platform.stream(), "late", known)


def skew(story: Story, rows: Sequence[Row], ids: Sequence[str]) -> None:
    """Hold every logged request against the same row of the features computed for the whole year at once.

    Raises:
        RunFailed: One of them differs.
    """
    expected = dict(zip(ids, rows, strict=True))
    compared, different = 0, []
    for identifier, columns in _logged(story.platform):
        row = expected.get(identifier)
        if row is None:
            continue
        compared += 1
        wrong = [name for name, values in columns.items() if not _same(values[0], row[name])]
        if wrong:
            different.append({"id": identifier, "columns": wrong})
    equal = compared - len(different)
    story.report["skew"] = {"compared": compared, "equal": equal, "different": different[:5]}
    story.say(f"{equal:,} of {compared:,} logged requests hold exactly the features computed offline")
    if different or compared < len(rows):
        raise RunFailed(
            "what was served is not what was computed offline", why=str(different[:5] or "requests are missing")
        )


def _logged(platform: "Platform") -> Iterator[tuple[str, Mapping[str, Sequence[Any]]]]:
    log, after = RequestLog(platform.stream(), "late"), -1
    while page := log.predictions(after, _PAGE, late=False):
        after = page[-1][0]
        for _, prediction in page:
            yield prediction.id, prediction.columns


def _same(left: Any, right: Any) -> bool:
    return bool(left == right) or (is_null(left) and is_null(right))


def observed(story: Story, until: Any) -> None:
    """Drift of each input and calibration of the answers, by month of the flights."""
    seen = observe(story.platform.stores(), story.platform.stream(), "late", every="month", as_of=until)
    story.report["drift"] = {
        month: {name: {"psi": round(d.psi, 4), "alarm": d.alarm} for name, d in columns.items()}
        for month, columns in seen.drift.items()
    }
    story.report["calibration"] = {
        month: {"predicted": c.predicted, "actual": c.actual, "rows": c.rows, "waiting": c.waiting}
        for month, c in seen.calibration.items()
    }
    story.table(_drift_rows(story.report["drift"]), ["psi_against_training", *story.report["drift"]])
    story.say("")
    rows = [{"month": m, **c} for m, c in story.report["calibration"].items()]
    story.table(rows, ["month", "rows", "predicted", "actual", "waiting"])
    found = [{"at": fact.at, **fact.body} for fact in alerts(story.platform.ledger(), "late")]
    story.report["alerts"] = found
    story.say("")
    story.say(f"{len(found)} alerts:")
    for alert in found:
        story.say(f"  {alert['window']}  {alert['message']}")


def _drift_rows(drift: Mapping[str, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    names = next(iter(drift.values()), {})
    return [
        {
            "psi_against_training": name,
            **{
                m: f"{columns[name]['psi']:.2f}{' !' if columns[name]['alarm'] else ''}" for m, columns in drift.items()
            },
        }
        for name in names
    ]


def explained(story: Story, ids: Sequence[str]) -> None:
    """One answer in the middle of the traffic, from its input back to the data and the commit."""
    one = [identifier for identifier in ids if identifier][len(ids) // 2]
    story.report["explanation"] = told = explain(story.platform, one)
    from headrace.cli.explanation import lines

    for line in lines(told):
        story.say(line)
