"""Look at what an endpoint was asked and answered: drift and calibration of every window, as facts.

The request log is read in pages, and only counts and sums are kept of it.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any

from headrace.datasets.bins import Counts
from headrace.datasets.profile import Profile
from headrace.errors import NotFound, UsageError
from headrace.models.registry import find, profile_of
from headrace.models.version import ModelVersion
from headrace.monitoring.calibration import Calibration
from headrace.monitoring.drift import Distance, compare
from headrace.monitoring.labels import reader
from headrace.monitoring.observation import Observation, record
from headrace.monitoring.reference import ReferenceScores
from headrace.monitoring.windows import MIN_ROWS, Every, window
from headrace.serving.deployment import check_logged, current
from headrace.serving.log import RequestLog
from headrace.serving.moments import instant
from headrace.serving.outcome import CANCELLED, UNJOINED
from headrace.serving.provenance import newest, registered
from headrace.serving.records import DEFAULT, Prediction
from headrace.settings import is_number
from headrace.storage.stores import Stores
from headrace.storage.stream import Stream

UNKNOWN = "unknown"
"""The window of rows whose event time cannot be read."""
_PAGE = 1000
_NOT_ASKED = frozenset({UNJOINED, CANCELLED})


@dataclass
class Window:
    """What one window holds so far.

    Attributes:
        rows: Rows that were asked about.
        counts: Input column to its cells per bin of the training profile.
        calibration: Answers against labels.
    """

    rows: int = 0
    counts: dict[str, Counts] = field(default_factory=dict)
    calibration: Calibration = field(default_factory=Calibration)


def observe(
    stores: Stores,
    stream: Stream,
    endpoint: str,
    *,
    every: Every = "month",
    as_of: datetime | str | None = None,
    min_rows: int = MIN_ROWS,
) -> Observation:
    """Read an endpoint's log, compare each window with training, and record what was found.

    Args:
        stores: Where the deployment, the model and its training profile are.
        stream: Where requests and labels are logged.
        endpoint: Its name.
        every: How long a window is.
        as_of: Labels known after this instant of event time are not used; None uses all.
        min_rows: A window of fewer rows raises no alarm.

    Raises:
        NotFound: Nothing is served under this name, or it logs nothing.
        UsageError: The model was registered without a training profile, or lies in a folder and was not registered.
    """
    model, training = _training(stores, endpoint)
    labels = reader(stream, endpoint, None if as_of is None else instant(as_of))
    windows: defaultdict[str, Window] = defaultdict(lambda: Window(calibration=Calibration(min_rows=min_rows)))
    scores = ReferenceScores(_reference(stores, endpoint), partial(_windows, every=every))
    for page in _pages(stream, endpoint, late=bool(scores.model)):
        _count_inputs(windows, page, training, every)
        scores.add(page)
        if labels is not None:
            for prediction in page:
                _count_answers(windows, prediction, labels(prediction.id), every)
    if not windows:
        check_logged(current(stores.ledger, endpoint))
    named = sorted(windows)
    drift = {w: _distances(windows[w], training, min_rows) for w in named}
    calibration = {w: windows[w].calibration for w in named} if labels is not None else {}
    rows = {w: windows[w].rows for w in named}
    seen = Observation(endpoint, model, every, drift, calibration, rows, min_rows=min_rows)
    return record(stores.ledger, replace(seen, reference=scores.model, shift=scores.shift(min_rows)))


def _training(stores: Stores, endpoint: str) -> tuple[str, Profile]:
    """The first scheduled model's version, and the profile of what it was trained on."""
    deployed = current(stores.ledger, endpoint)
    if deployed is None:
        version = _of_folder(stores, endpoint)
    else:
        version = find(stores.ledger, deployed.models[deployed.endpoint.models[0]])
    stored = profile_of(stores.files, version)
    if stored is None:
        raise UsageError(
            f"{version} has no training profile",
            why="drift is counted in its bins",
            fix="register it with train=rows",
        )
    return str(version), Profile.from_json(stored)


def _of_folder(stores: Stores, endpoint: str) -> ModelVersion:
    """The registered version that equals what a watched folder holds: it knows what it was trained on."""
    loading = newest(stores.ledger, endpoint)
    if loading is None:
        raise NotFound(
            f"no endpoint {endpoint!r}", why="nothing was ever deployed under this name", fix="headrace serving ls"
        )
    equal = registered(stores.ledger, loading)
    if equal is None:
        raise UsageError(
            f"endpoint {endpoint} has no training profile",
            where=loading.folder,
            why="no registered version equals what this folder holds, so what it was trained on is not known",
            fix="serve a version that headrace models export wrote, or deploy a registered one",
        )
    return equal


def _reference(stores: Stores, endpoint: str) -> str:
    """The version of the endpoint's reference; empty where it has none."""
    deployed = current(stores.ledger, endpoint)
    named = deployed.endpoint.reference if deployed else ""
    return deployed.models[named] if deployed and named else ""


def _pages(stream: Stream, endpoint: str, *, late: bool) -> Iterator[list[Prediction]]:
    log, after = RequestLog(stream, endpoint), -1
    while page := log.predictions(after, _PAGE, late=late):
        after = page[-1][0]
        yield [prediction for _, prediction in page]


def _count_inputs(
    windows: defaultdict[str, Window], page: Sequence[Prediction], training: Profile, every: Every
) -> None:
    cells: defaultdict[tuple[str, str], list[Any]] = defaultdict(list)
    bins = training.bins
    for prediction in page:
        hidden = prediction.masked
        columns = [(n, values) for n, values in prediction.columns.items() if n in bins and n not in hidden]
        if _unasked(prediction):
            columns = [(n, values) for n, values in columns if any(value is not None for value in values)]
        for row, named in enumerate(_windows(prediction, every)):
            windows[named].rows += 1
            for name, values in columns:
                cells[named, name].append(values[row])
    for (named, name), values in cells.items():
        counts = windows[named].counts
        added = bins[name].count(values)
        counts[name] = counts[name] + added if name in counts else added


def _unasked(prediction: Prediction) -> bool:
    """Whether it reached no model: where features were to be joined there are nulls then, which nobody sent."""
    errors = {score.error for score in prediction.scores}
    return bool(errors) and errors <= _NOT_ASKED and not prediction.joined


def _count_answers(
    windows: defaultdict[str, Window], prediction: Prediction, labels: Mapping[int, float], every: Every
) -> None:
    answers = next(iter(prediction.outputs.values()), ())
    for row, named in enumerate(_windows(prediction, every)):
        calibration = windows[named].calibration
        if prediction.winner == DEFAULT:
            calibration.defaults += 1
        elif row < len(answers) and is_number(answers[row]):
            calibration.add(float(answers[row]), labels.get(row))


def _windows(prediction: Prediction, every: Every) -> list[str]:
    """The window of each row: of its event time, or of its arrival where the endpoint names no such column."""
    if prediction.event_time:
        return [_window(moment, every) for moment in prediction.event_time]
    rows = len(next(iter(prediction.columns.values()), ()))
    return [window(datetime.fromtimestamp(prediction.at_ms / 1000, UTC), every)] * rows


@lru_cache(maxsize=4096)
def _window(moment: str, every: Every) -> str:
    try:
        return window(instant(moment), every)
    except UsageError:
        return UNKNOWN


def _distances(seen: Window, training: Profile, min_rows: int) -> dict[str, Distance]:
    columns = training.columns
    return {name: compare(columns[name].counts, counts, min_rows=min_rows) for name, counts in seen.counts.items()}
