"""``headrace run``: plan a pipeline, run it, say what happened."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.output import Output, aligned, options
from headrace.cli.progress import KEY_SHOWN, Progress
from headrace.errors import UsageError

if TYPE_CHECKING:
    from headrace.pipelines.report import RunReport
    from headrace.pipelines.run import Run


@click.command()
@click.argument("pipeline")
@click.option("--param", "params", multiple=True, metavar="K=V", help="A parameter of the pipeline; may repeat.")
@click.option("--set", "sets", multiple=True, metavar="STEP.OPTION=V", help="A parameter or option of one step.")
@click.option("--only", multiple=True, metavar="STEP", help="Run this step and what it needs, nothing else.")
@click.option("--explain", metavar="STEP", help="Say why this step would run or not, and run nothing.")
@click.option("--dry-run", is_flag=True, help="Say what would run, and run nothing.")
@click.option("--env", help="The environment: which engine fulfils each port.")
@options
def command(out: Output, pipeline: str, **given: Any) -> int:
    """Run PIPELINE: cached, in parallel, recorded.

    PIPELINE is a name in the project's pipeline.py, or MODULE:NAME.
    """
    from headrace.assembly import open_platform
    from headrace.sdk import ambient
    from headrace.sdk.running import Request, prepared
    from headrace.settings import load_settings

    platform = open_platform(load_settings(flags={"env": given["env"]}))
    request = Request(pipeline, _pairs(given["params"]), _overrides(given["sets"]), given["only"])
    with ambient.use(platform):
        try:
            run = prepared(request, listeners=[] if out.quiet else [Progress()])
            if given["explain"] or given["dry_run"]:
                return _forecast(out, run, given["explain"])
            report = run.execute()
            _mirror(run, report)
            _result(out, report)
            return report.exit_code
        finally:
            platform.close()


def _result(out: Output, report: "RunReport") -> None:
    states = [step.state for step in report.steps]
    counts = ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states))
    line = f"{report.pipeline}: {report.state} in {report.seconds:.2f} s ({counts}), run {report.run}"
    value = {
        "run": report.run,
        "pipeline": report.pipeline,
        "state": report.state,
        "seconds": report.seconds,
        "steps": [step.to_json() for step in report.steps],
        "result": report.result.tree if report.result else None,
    }
    out.result(value, [line])
    for step in report.steps:
        if step.state in {"failed", "refused"} and "/" not in step.name:  # a child's failure is its parent's
            what, fix = f"{step.kind} {step.name!r}", f"headrace runs logs {report.run} {step.name}"
            parts = {"what": what, "where": report.run, "why": step.error, "fix": fix}
            label = "log" if "fix: " in step.error else "fix"  # an error may know better what to do
            out.failure(step.code or "run-failed", f"{what} - {step.error}\n  {label}: {fix}", parts)


def _forecast(out: Output, run: "Run", step: str | None) -> int:
    from headrace.pipelines.explain import forecast

    found = forecast(run.plan, run.workspace, run.only)
    if step is None:
        rows = [{"step": f.name, "state": f.state, "key": f.key[:KEY_SHOWN], "why": "; ".join(f.why)} for f in found]
        out.result([f.to_json() for f in found], aligned(rows, ["step", "state", "key", "why"]))
        return 0
    run.plan.index(step)
    chosen = next((f for f in found if f.name == step), None)
    if chosen is None:
        raise UsageError(f"{step!r} takes no part in this run", fix="leave out --only")
    headline = {"cached": "taken from the cache", "run": "would run", "unknown": "not known yet"}[chosen.state]
    out.result(
        chosen.to_json(), [f"{step}: {headline} {chosen.key[:KEY_SHOWN]}".rstrip(), *(f"  {w}" for w in chosen.why)]
    )
    return 0


def _mirror(run: "Run", report: "RunReport") -> None:
    """Begin to mirror trials and versions to the tracking server, when built-in steps may have made some."""
    builtin = {node.name for node in run.plan.nodes if node.function.startswith("headrace.")}
    if any(step.state == "done" and step.name in builtin for step in report.steps):
        from headrace.sdk import ambient, mirror

        mirror.start(ambient.platform())


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{text!r} is not NAME=VALUE", fix="for example --param trials=20")
        found[name] = value
    return found


def _overrides(texts: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for path, value in _pairs(texts).items():
        step, dot, option = path.rpartition(".")
        if not dot or not step:
            raise UsageError(f"{path!r} is not STEP.OPTION", fix="for example --set train.learning_rate=0.1")
        found.setdefault(step, {})[option] = value
    return found
