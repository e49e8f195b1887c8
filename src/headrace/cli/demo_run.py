"""The demo's pipelines: run with a line a step, then the metrics, parity and gates that came of them."""

from collections.abc import Mapping, Sequence
from subprocess import Popen
from typing import TYPE_CHECKING, Any

import msgspec

from headrace.cli.demo_story import Story
from headrace.cli.progress import Progress
from headrace.errors import GateFailed, RunFailed
from headrace.models.registry import find
from headrace.pipelines.report import RunReport
from headrace.sdk import mirror
from headrace.sdk.children import value
from headrace.sdk.running import Request, run

if TYPE_CHECKING:
    from headrace.journey.platform import Platform

MODELS = ("late", "late-linear", "late-constant")


def run_pipeline(story: Story, name: str, params: Mapping[str, Any]) -> RunReport:
    """Run a pipeline of the project; its steps go into the report.

    Raises:
        RunFailed: A step raised.
        GateFailed: A gate said no.
    """
    done = run(Request(name, params), listeners=[] if story.out.quiet else [Progress()])
    story.report["steps"] += [
        {"name": s.name, "pipeline": name, "seconds": round(s.seconds, 3), "cached": s.state == "cached", "key": s.key}
        for s in done.steps
    ]
    if done.exit_code:
        failed = next(s for s in done.steps if s.error)
        kind = GateFailed if done.state == "refused" else RunFailed
        raise kind(f"pipeline {name!r} {done.state}", where=failed.name, why=failed.error)
    return done


def judged(story: Story, done: RunReport) -> None:
    """Tell what the search found, how the models compare, and which gates let them through."""
    ledger = story.platform.ledger()
    found = {name: find(ledger, name) for name in MODELS}
    story.report["metrics"] = {name: dict(version.metrics) for name, version in found.items()}
    story.report["parity"] = {name: dict(v.report["parity"]) for name, v in found.items()}
    story.report["models"] = [
        {"version": str(v), "digest": v.digest, "commit": v.commit, "datasets": dict(v.datasets), "licence": v.licence}
        for v in found.values()
    ]
    story.report["gates"] = _gates(story.platform, done)
    story.say("")
    rows = [{"model": str(found[n]), **found[n].metrics, **_short(found[n].report["parity"])} for n in MODELS]
    columns = [c for c in rows[0] if c != "model"]
    story.table(rows, ["model", *columns])
    for gate in story.report["gates"]:
        judged_on = ", ".join(f"{k} {_shown(v)}" for k, v in (gate.get("values") or {}).items())
        story.say(f"gate {gate['gate']}: passed{' - ' if judged_on else ''}{judged_on}")


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{k} {_shown(v)}" for k, v in value.items()) + ")"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _short(report: Mapping[str, Any]) -> dict[str, Any]:
    return {"max_difference": f"{report['max_difference']:.1e}", "labels_agree": f"{report['label_agreement']:.2%}"}


def _gates(platform: "Platform", done: RunReport) -> list[dict[str, Any]]:
    ledger = platform.ledger()
    keys = {s.key for s in done.steps if s.kind == "gate"}
    facts = [f for f in ledger.query("gate.passed") if f.body.get("key") in keys]
    newest = {f.body["key"]: f.body for f in facts}
    return [{"state": "passed", **body} for body in newest.values()]


def mirrored(story: Story) -> "Popen[bytes] | None":
    """Begin to mirror the trials to MLflow, when it is installed; a process of its own."""
    tracking = story.platform.tracking()
    story.report["tracking"] = tracking.address() if tracking is not None else None
    return mirror.start(story.platform)


def rows_of(done: RunReport) -> list[dict[str, Any]]:
    """The table that a pipeline returned, as rows."""
    import pyarrow as pa

    assert done.result is not None
    table: pa.Table = value(done.result, pa.Table)
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def bodies_of(platform: "Platform", rows: Sequence[Mapping[str, Any]]) -> list[bytes]:
    """What is sent for each row: the model's inputs and the time of the question, as the body of a predict request."""
    columns = [c.name for c in find(platform.ledger(), "late@champion").signature.columns]
    encode = msgspec.json.encode
    return [encode({"instances": [{"asked": row["asked"], **{n: row[n] for n in columns}}]}) for row in rows]
