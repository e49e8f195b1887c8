"""What was seen of an endpoint, and how it is recorded: one fact a window and change, one alert a thing.

A window whose result did not change gets no second fact: observing again costs a read and writes nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from headrace.errors import Conflict
from headrace.monitoring.alerts import KIND as ALERT
from headrace.monitoring.alerts import raise_once
from headrace.monitoring.calibration import Calibration
from headrace.monitoring.drift import PSI_ALARM, Distance
from headrace.monitoring.windows import MIN_ROWS, Every
from headrace.storage.ledger import Fact, Ledger

DRIFT = "monitor.drift"
CALIBRATION = "monitor.calibration"
_MAX_COLUMNS = 400
"""In one fact; of wider tables those that moved most."""
_TRIES = 20


@dataclass(frozen=True)
class Observation:
    """What was seen.

    Attributes:
        endpoint: Its name.
        model: The version whose training profile the inputs are compared with.
        every: How long a window is.
        drift: Window to column to distance.
        calibration: Window to answers against labels; only windows of an endpoint that has labels.
        rows: Window to number of rows.
        alerts: Those raised now, for the first time.
        min_rows: A window of fewer rows raises no alarm.
        reference: The version whose scores say whether the inputs moved; empty for none.
        shift: Window to distance of the reference's scores from those of its first window.
    """

    endpoint: str
    model: str
    every: Every
    drift: Mapping[str, Mapping[str, Distance]]
    calibration: Mapping[str, Calibration]
    rows: Mapping[str, int]
    alerts: Sequence[Fact] = ()
    min_rows: int = MIN_ROWS
    reference: str = ""
    shift: Mapping[str, Distance] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "endpoint": self.endpoint,
            "model": self.model,
            "every": self.every,
            "min_rows": self.min_rows,
            "rows": dict(self.rows),
            "drift": {w: {c: d.to_json() for c, d in columns.items()} for w, columns in self.drift.items()},
            "calibration": {w: c.to_json() for w, c in self.calibration.items()},
            "reference": self.reference,
            "shift": {w: d.to_json() for w, d in self.shift.items()},
            "alerts": [dict(alert.body) for alert in self.alerts],
        }


def record(ledger: Ledger, seen: Observation) -> Observation:
    """Append what is new as facts, and the alerts that were not raised before; the latter come back in the result."""
    _append_changed(ledger, DRIFT, seen, {named: _drift_body(seen, named) for named in seen.drift})
    bodies = {named: _about(seen, named) | calibration.to_json() for named, calibration in seen.calibration.items()}
    _append_changed(ledger, CALIBRATION, seen, bodies)
    return replace(seen, alerts=raise_once(ledger, list(_alarms(seen))))


def newest(ledger: Ledger, kind: str, endpoint: str) -> dict[tuple[str, str, str], Fact]:
    """The newest fact of each window, by its length, its name and the model version it was compared with."""
    return {(f.body["every"], f.body["window"], f.body["model"]): f for f in ledger.query(kind, endpoint)}


def _append_changed(ledger: Ledger, kind: str, seen: Observation, bodies: Mapping[str, dict[str, Any]]) -> None:
    for _ in range(_TRIES):
        stored, facts = newest(ledger, kind, seen.endpoint), []
        for named, body in bodies.items():
            before = stored.get((seen.every, named, seen.model))
            if before is None or before.body != body:
                # The mark names the fact that is replaced: of two observers at once only one gets through.
                mark = f"{seen.endpoint}/{seen.every}/{named}/{seen.model}/{before.seq if before else 0}"
                facts.append(Fact(kind, seen.endpoint, body, unique=mark))
        try:
            if facts:
                ledger.append(facts)
        except Conflict:
            continue
        return
    raise Conflict(f"others keep observing {seen.endpoint!r}", fix="try again")


def _about(seen: Observation, named: str) -> dict[str, Any]:
    return {"window": named, "every": seen.every, "model": seen.model}


def _drift_body(seen: Observation, named: str) -> dict[str, Any]:
    moved = sorted(seen.drift[named].items(), key=lambda item: -item[1].psi)
    columns = {name: distance.to_json() for name, distance in moved[:_MAX_COLUMNS]}
    left_out = {"left_out": len(moved) - _MAX_COLUMNS} if len(moved) > _MAX_COLUMNS else {}
    return {**_about(seen, named), "rows": seen.rows[named], "columns": columns, **left_out}


def _alarms(seen: Observation) -> Iterator[Fact]:
    for named, columns in seen.drift.items():
        for name, distance in columns.items():
            if distance.alarm:
                message = f"{name} drifted in {named}: PSI {distance.psi:.2f} against the training data of {seen.model}"
                about = {"about": "drift", "column": name, "value": round(distance.psi, 6), "threshold": PSI_ALARM}
                yield _alert(seen, named, about, message)
    for named, distance in seen.shift.items():
        if distance.alarm:
            message = f"the scores of the reference {seen.reference} moved in {named}: PSI {distance.psi:.2f}"
            about = {"about": "reference", "column": "", "value": round(distance.psi, 6), "threshold": PSI_ALARM}
            yield _alert(seen, named, about, message)
    for named, calibration in seen.calibration.items():
        if calibration.alarm:
            gap = calibration.predicted - calibration.actual
            message = (
                f"{seen.endpoint} predicted {calibration.predicted:.3f} on average in {named}, "
                f"but {calibration.actual:.3f} happened"
            )
            yield _alert(seen, named, {"about": "calibration", "column": "", "value": round(gap, 6)}, message)


def _alert(seen: Observation, named: str, about: dict[str, Any], message: str) -> Fact:
    mark = f"{seen.endpoint}/{about['about']}/{seen.every}/{named}/{about['column']}/{seen.model}"
    return Fact(ALERT, seen.endpoint, {**about, **_about(seen, named), "message": message}, unique=mark)
