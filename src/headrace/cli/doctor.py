"""``headrace doctor``: how the parts are, and how well the project is tested."""

import sys
from collections.abc import Iterator

import click

from headrace.assembly import open_platform, project_home
from headrace.cli.output import Output, aligned, colourful, options
from headrace.delivery.promotion import current_user
from headrace.errors import UsageError
from headrace.journey.doctor import Diagnosis, diagnose
from headrace.journey.evidence import ATTESTATION_DAYS
from headrace.journey.evidence import attest as record
from headrace.journey.rubric import SECTIONS, Score, Scored

SYMBOLS = {0.0: "0  ", 0.5: "0.5", 1.0: "1  "}
COLOURS = {"ok": "green", "FAIL": "red", "off": "bright_black"}


@click.command()
@click.option("--attest", metavar="TEST", help="Record that this test of the rubric was done by hand (half a point).")
@click.option("--note", default="", help="With --attest: what was done, and what came out.")
@options
def command(out: Output, attest: str | None, note: str) -> int:
    """How every part is, which engine fulfils each port, and the ML Test Score from evidence.

    Every part is made to do its work once. A point of the rubric is given for evidence only: what the ledger
    records (a whole point), or what was done by hand and attested here (half a point, for 180 days). The exit code
    is 1 when a part failed.
    """
    if note and not attest:
        raise UsageError("a note without a test", fix="headrace doctor --attest TEST --note TEXT")
    platform = open_platform()
    project_home(platform.settings)
    try:
        if attest:
            fact = record(platform.ledger(), attest, note, who=current_user())
            out.result(
                {"test": attest, "seq": fact.seq}, [f"recorded: {attest}, half a point for {ATTESTATION_DAYS} days"]
            )
            return 0
        found = diagnose(platform)
    finally:
        platform.close()
    out.result(found.to_json(), _lines(found), own=True)
    return 0 if found.healthy else 1


def _lines(found: Diagnosis) -> Iterator[str]:
    colour = colourful(sys.stdout)
    rows = [{**vars(c), "component": c.name, "version": _version(found, c.engine)} for c in found.components]
    for number, line in enumerate(aligned(rows, ["component", "state", "engine", "version", "detail"])):
        state = found.components[number - 1].state if number else ""
        yield click.style(line, fg=COLOURS[state]) if colour and state else line
    yield from (f"fix {c.name}: {c.fix}" for c in found.components if c.state == "FAIL" and c.fix)
    yield ""
    yield from aligned([vars(layer) for layer in found.layers], ["room", "port", "engine", "origin"])
    yield ""
    if found.score is None:
        yield "ML Test Score: unknown, because the ledger or the request log, which hold the evidence, cannot be read"
    else:
        yield from _score(found.score)


def _version(found: Diagnosis, engine: str) -> str:
    return next((layer.version for layer in found.layers if layer.engine == engine), "-")


def _score(score: Score) -> Iterator[str]:
    yield f"ML Test Score {score.total:g} of 7, the lowest section: {score.meaning}"
    for section in SECTIONS:
        yield ""
        yield f"{section} {score.sections[section]:g}"
        for scored in score.tests:
            if scored.test.section == section:
                yield from _test(scored)


def _test(scored: Scored) -> Iterator[str]:
    yield f"  {SYMBOLS[scored.finding.points]}  {scored.test.id:<18}{scored.test.title}"
    yield f"{'':25}{scored.finding.because}"
    if scored.fix:
        yield f"{'':25}fix: {scored.fix}"
