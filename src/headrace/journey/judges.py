"""Judges: one function a test of the rubric, from evidence to points; no evidence, no point."""

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from headrace.datasets.catalogue import versions
from headrace.errors import HeadraceError
from headrace.journey.evidence import Evidence, attestations
from headrace.journey.platform import Platform
from headrace.journey.rubric import AUTOMATIC, BY_HAND, RUBRIC, Finding, RubricTest, Score, Scored
from headrace.models import registry
from headrace.serving.records import NO_MODEL
from headrace.storage.ledger import Fact


def judge(platform: Platform) -> Score:
    """Score all 28 tests."""
    evidence = Evidence(platform.ledger(), platform.stream())
    attested = attestations(evidence.ledger)
    names = _names(evidence)
    return Score([_scored(test, _finding(test.id, evidence, attested), names) for test in RUBRIC])


def _scored(test: RubricTest, finding: Finding, names: Mapping[str, str]) -> Scored:
    if finding.points >= test.most:
        return Scored(test, finding, "")
    fix = test.fix.format(id=test.id, **names)
    return Scored(test, finding, f"{test.once}, then {fix}" if test.once else fix)


def _names(evidence: Evidence) -> dict[str, str]:
    """What to fill into the fixes: this project's own names where it has them."""
    datasets = [reference.partition("@")[0] for reference in evidence.datasets]
    runs = [
        str(fact.body["pipeline"]) for m in evidence.models if m.run for fact in evidence.facts("run.started", m.run)
    ]
    return {
        "dataset": next(iter(sorted(datasets)), "DATASET"),
        "endpoint": next(iter(evidence.live), "ENDPOINT"),
        "pipeline": runs[-1] if runs else "PIPELINE",
    }


def _finding(test: str, evidence: Evidence, attested: Mapping[str, Fact]) -> Finding:
    try:
        found = (
            JUDGES[test](evidence) if test in JUDGES else Finding(0, "nothing was recorded, and only people can do it")
        )
    except HeadraceError as error:
        found = Finding(0, f"the evidence cannot be read: {error.what}")
    if found.points < BY_HAND and test in attested:
        fact = attested[test]
        return Finding(BY_HAND, f"by hand, {fact.body['who']} on {_date(fact.at)}: {fact.body['note']}")
    return found


def _date(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at))


def _all(wanted: Sequence[str], had: set[str], what: str) -> Finding:
    """A whole point when every one of ``wanted`` is in ``had``."""
    missing = sorted(set(wanted) - had)
    if not wanted:
        return Finding(0, "no model is registered yet")
    if missing:
        return Finding(0, f"not {what}: {', '.join(missing)}")
    return Finding(AUTOMATIC, f"{what}: {', '.join(sorted(wanted))}")


def _schema(evidence: Evidence) -> Finding:
    checked = {f"{f.subject}@{f.body['version']}" for f in evidence.facts("dataset.checked")}
    return _all(sorted(evidence.datasets), checked, "checked against its contract")


def _licences(evidence: Evidence) -> Finding:
    licensed = {str(version) for version in versions(evidence.ledger) if version.licence}
    return _all(sorted(evidence.datasets), licensed, "put with its licence, which registration asks for")


def _committed(evidence: Evidence) -> Finding:
    clean = {str(m) for m in evidence.models if m.commit and not m.commit.endswith("+dirty")}
    found = _all([str(m) for m in evidence.models], clean, "registered from a commit")
    return Finding(
        min(found.points, BY_HAND), f"{found.because}; reviews are not recorded" if found.points else found.because
    )


def _tuned(evidence: Evidence) -> Finding:
    trials = evidence.facts("trial.finished")
    settings = {str(sorted(f.body["params"].items())) for f in trials}
    if len(settings) < 2:  # noqa: PLR2004 - one setting is no search
        return Finding(0, "no search was run")
    return Finding(AUTOMATIC, f"{len(settings)} settings tried")


def _correlates(evidence: Evidence) -> Finding:
    windows = evidence.monitored("monitor.calibration")
    if not windows or not any(m.metrics for m in evidence.models):
        return Finding(0, "no model has both offline metrics and labels joined to its live predictions")
    return Finding(BY_HAND, f"offline metrics beside {len(windows)} windows of live calibration; compare them by eye")


def _staleness(evidence: Evidence) -> Finding:
    windows = evidence.monitored("monitor.calibration")
    if len(windows) < 2:  # noqa: PLR2004 - staleness needs a before and an after
        return Finding(0, "fewer than two windows of live calibration")
    return Finding(AUTOMATIC, f"one model followed over {len(windows)} windows of event time")


def _gate(word: str, what: str) -> Callable[[Evidence], Finding]:
    def found(evidence: Evidence) -> Finding:
        passed = sorted(name for name in evidence.gates if word in name)
        if not passed:
            return Finding(0, f"no gate with {word!r} in its name passed before these models were registered")
        return Finding(AUTOMATIC, f"{what}: gate {', '.join(passed)}")

    return found


def _timed(evidence: Evidence) -> Finding:
    """The latency gate passes where there is no champion yet, so it proves something only where there was one."""
    beside = [
        str(m)
        for m in evidence.models
        if any("latency" in gate for gate in evidence.gates_of(m))
        and any(f.body["alias"] == "champion" and f.at < m.at for f in evidence.facts("alias.moved", m.name))
    ]
    if not beside:
        return Finding(0, "no served model was timed beside a champion before it was registered")
    return Finding(AUTOMATIC, f"timed beside the champion: {', '.join(beside)}")


def _integrated(evidence: Evidence) -> Finding:
    runs = {f.subject for f in evidence.facts("run.finished") if f.body.get("state") == "succeeded"}
    whole = sorted({m.run for m in evidence.models if m.run in runs and m.datasets})
    if not whole:
        return Finding(0, "no model comes from a run that went from data to registration")
    return Finding(BY_HAND, f"run {whole[-1]} went from data to registration; no schedule repeats it")


def _validated(evidence: Evidence) -> Finding:
    return _all(
        [str(m) for m in evidence.models],
        {str(m) for m in evidence.models if evidence.gates_of(m)},
        "registered below gates that passed",
    )


def _debuggable(evidence: Evidence) -> Finding:
    for prediction in reversed(evidence.predictions):
        if prediction.winner not in NO_MODEL and prediction.scores:
            model = registry.find(evidence.ledger, prediction.winner)
            return Finding(
                AUTOMATIC, f"prediction {prediction.id} leads to {model}, commit {model.commit[:12] or 'unknown'}"
            )
    return Finding(0, "no prediction is logged")


def _canaried(evidence: Evidence) -> Finding:
    shadowed: set[str] = set()
    for deployed in evidence.deployments:
        scheduled = {deployed.models[p.model] for p in deployed.endpoint.schedule}
        early = sorted(scheduled & shadowed)
        if early and deployed is evidence.live[deployed.endpoint.name]:
            return Finding(AUTOMATIC, f"scored live requests as a shadow before it answered any: {', '.join(early)}")
        shadowed |= {deployed.models[reference] for reference in deployed.endpoint.shadows}
    return Finding(0, "no scheduled model was a shadow before")


def _rolled_back(evidence: Evidence) -> Finding:
    newest: dict[tuple[str, str], int] = {}
    for deployed in evidence.deployments:
        for version in deployed.models.values():
            name, _, number = version.rpartition("@")
            place = (deployed.endpoint.name, name)
            if int(number) < newest.get(place, 0):
                return Finding(AUTOMATIC, f"{deployed.endpoint.name} went back to {version} on {_date(deployed.at)}")
            newest[place] = int(number)
    return Finding(0, "no endpoint was ever deployed back to an older version")


def _dependencies(evidence: Evidence) -> Finding:
    checked: dict[str, set[int]] = {}
    for fact in evidence.facts("dataset.checked"):
        checked.setdefault(fact.subject, set()).add(int(fact.body["version"]))
    followed = sorted(name for name, versions in checked.items() if len(versions) > 1)
    if not followed:
        return Finding(0, "no dataset was put and checked a second time with other content")
    return Finding(AUTOMATIC, f"every delivery is checked against the contract of the first: {', '.join(followed)}")


def _invariants(evidence: Evidence) -> Finding:
    windows = evidence.monitored("monitor.drift")
    if not windows:
        return Finding(0, "the inputs of no endpoint were compared with their training profile")
    return Finding(AUTOMATIC, f"inputs compared with the training profile in {len(windows)} windows")


def _skew(evidence: Evidence) -> Finding:
    checked = [m for m in evidence.models if m.report]
    windows = evidence.monitored("monitor.drift")
    if not checked or not windows:
        return Finding(0, "parity with the trained model and drift of the inputs are not both recorded")
    return Finding(AUTOMATIC, f"parity recorded for {len(checked)} models, drift for {len(windows)} windows")


def _fresh(evidence: Evidence) -> Finding:
    late = [
        n for n, d in evidence.live.items() if not any(f.at >= d.at for f in evidence.facts("monitor.calibration", n))
    ]
    if not evidence.live or late:
        return Finding(0, f"not monitored since it was deployed: {', '.join(late) or 'nothing is deployed'}")
    return Finding(AUTOMATIC, f"calibration followed since deployment: {', '.join(evidence.live)}")


def _stable(evidence: Evidence) -> Finding:
    scores = [score for p in evidence.predictions for score in p.scores if score.state != "failed"]
    values = [np.asarray(column) for score in scores for column in score.outputs.values()]
    numbers = [array for array in values if array.dtype.kind in "fiub"]
    count = sum(map(np.size, numbers))
    if not count:
        return Finding(0, "no score that is a number is logged" if values else "no score is logged")
    if not all(np.isfinite(array).all() for array in numbers):
        return Finding(0, f"some of {count} logged scores are not finite")
    return Finding(AUTOMATIC, f"{count} logged scores looked at, all finite")


def _quality(evidence: Evidence) -> Finding:
    windows = evidence.monitored("monitor.calibration")
    if not windows:
        return Finding(0, "no labels were joined to live predictions")
    return Finding(AUTOMATIC, f"predicted against actual rate in {len(windows)} windows")


JUDGES: Mapping[str, Callable[[Evidence], Finding]] = {
    "data.1": _schema,
    "data.4": _licences,
    "model.1": _committed,
    "model.2": _correlates,
    "model.3": _tuned,
    "model.4": _staleness,
    "model.5": _gate("baseline", "compared with a simpler model"),
    "model.6": _gate("slice", "judged slice by slice"),
    "infrastructure.3": _integrated,
    "infrastructure.4": _validated,
    "infrastructure.5": _debuggable,
    "infrastructure.6": _canaried,
    "infrastructure.7": _rolled_back,
    "monitoring.1": _dependencies,
    "monitoring.2": _invariants,
    "monitoring.3": _skew,
    "monitoring.4": _fresh,
    "monitoring.5": _stable,
    "monitoring.6": _timed,
    "monitoring.7": _quality,
}
"""Test to what finds its evidence. The others can only be done by hand and attested."""
