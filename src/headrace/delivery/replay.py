"""Replay: a candidate scores the requests that production has logged, and production does not notice.

Answers are compared row by row with what callers were told at the time: how many differ, how the scores as a whole
have moved, in which slices, how much longer one request takes, and, where labels have come in, who was nearer.
"""

import math
import time
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.datasets.bins import Bins, as_category, quantile_edges
from headrace.delivery.rescoring import Call, alike, flat, hidden, scored
from headrace.errors import HeadraceError, NotFound, RunFailed, SignatureError, UsageError
from headrace.evaluation.latency import Latency, side_by_side
from headrace.evaluation.metrics import measure
from headrace.models.signature import Signature
from headrace.monitoring.drift import psi
from headrace.serving.records import Prediction
from headrace.serving.tensors import decoder_of
from headrace.serving.versions import Model

KIND = "replay.finished"
"""The fact that a candidate was replayed, which a promotion may require."""

MEASURED = (
    *("error_rate", "disagreement", "mean_difference", "score_psi", "p50_ms", "p99_ms"),
    *("auc", "log_loss", "brier", "rmse"),
)
"""What a replay measures."""

ABOUT = ("requests", "tolerance")
"""How it was done, which rules may name as well: a replay of a minute, or one that tolerates all, shows nothing."""

_TIMED = 200
_EDGES_FROM = 10_000
_MOST_SLICES = 20
_WORST = 5
_LABELLED = 2_000_000
_CHANCES = ("auc", "log_loss", "brier")

Labels = Callable[[str], Mapping[int, float]]


@dataclass
class Side:
    """What one slice, or all rows, came to.

    Attributes:
        rows: Rows compared.
        failed: Rows of requests that the candidate gave no score for; what was answered differs from none.
        differ: Rows whose answers differ by more than the tolerance.
        before: Sum of what was answered.
        after: Sum of what the candidate answers.
    """

    rows: int = 0
    failed: int = 0
    differ: int = 0
    before: float = 0.0
    after: float = 0.0

    def add(self, before: NDArray[Any], after: NDArray[Any], differ: NDArray[Any]) -> None:
        """Count rows."""
        self.rows += len(differ)
        self.differ += int(differ.sum())
        self.before += float(before.sum())
        self.after += float(after.sum())

    def to_json(self) -> dict[str, float]:
        """Rows, share that differs, and the mean answers."""
        rows = max(self.rows, 1)
        means = {"mean_before": self.before / rows, "mean_after": self.after / rows}
        return {"rows": self.rows + self.failed, "disagreement": self.disagreement, **means}

    @property
    def disagreement(self) -> float:
        """Share of the rows that differ."""
        return (self.differ + self.failed) / max(self.rows + self.failed, 1)


@dataclass(frozen=True)
class Replayed:
    """What a replay found.

    Attributes:
        model: The candidate (``late@4``).
        endpoint: Whose log was read.
        requests: Replayed and scored.
        failed: Replayed, and the candidate gave no score: it raised, or what it gave is not finite or of a wrong shape.
        skipped: Requests left out, because no model had answered them, they asked by another signature, or their
            answers have other values than the candidate's.
        masked: Requests left out, because the log holds only hashes of what the candidate takes.
        own: Requests left out, because the candidate had answered them.
        span_s: Time between the first and the last request, as it was.
        took_s: How long replaying took.
        numbers: By name of ``MEASURED``; those of the candidate.
        champion: The same of what was answered, where there is such a thing.
        slices: Column to category to what it came to.
        worst: Ids of the requests whose answers differ most, with the difference.
        failures: Ids of the first requests that failed, with the reason.
        answered_by: Model version to how many of the requests it had answered.
    """

    model: str
    endpoint: str
    requests: int
    failed: int
    skipped: int
    masked: int
    own: int
    span_s: float
    took_s: float
    numbers: Mapping[str, float]
    champion: Mapping[str, float]
    slices: Mapping[str, Mapping[str, Mapping[str, float]]]
    worst: Sequence[tuple[str, float]]
    failures: Sequence[tuple[str, str]]
    answered_by: Mapping[str, int]

    @property
    def speed(self) -> float:
        """How many times faster than it happened."""
        return self.span_s / self.took_s if self.took_s else float("inf")

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        pairs = {name: [list(pair) for pair in getattr(self, name)] for name in ("worst", "failures")}
        return {**vars(self), **pairs, "speed": self.speed}


@dataclass(frozen=True)
class Asked:
    """How to replay.

    Attributes:
        tolerance: Answers of a row differ when an output differs by more.
        slices: Input columns to look at category by category.
        champion: What answers now, to be timed beside the candidate; None where nothing is loaded.
        own_too: Whether to compare the candidate with what it answered itself, which shows nothing of another version.
        labels: Row to label of a request; None without labels.

    Raises:
        UsageError: ``tolerance`` is no number from 0.
    """

    tolerance: float = 0.01
    slices: Sequence[str] = ()
    champion: Model | None = None
    own_too: bool = False
    labels: Labels | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance < math.inf:
            raise UsageError(f"tolerance is {self.tolerance:g}", why="0 or more is due", fix="tolerance 0.01")


def replay(
    endpoint: str, pages: Iterable[Sequence[tuple[int, Prediction]]], candidate: Model, asked: Asked
) -> Replayed:
    """Score logged requests with ``candidate``.

    Args:
        endpoint: Whose requests they are.
        pages: Of its log, as ``RequestLog.between`` gives them; one is held at a time.
        candidate: Loaded and proven.
        asked: How.

    Raises:
        NotFound: There is no request to replay.
        SignatureError: The candidate takes a column that the log does not have, or gives what no answer has.
        RunFailed: The candidate scored none of them.
        UsageError: A slice is no column of the log.
    """
    tally = _Tally(candidate.signature, asked)
    decoder = decoder_of(candidate.signature)
    begun = time.monotonic()
    for page in pages:
        logged = [p for _, p in page if asked.own_too or p.winner != candidate.name]
        groups = alike(logged, candidate.signature.name)
        tally.own += len(page) - len(logged)
        tally.skipped += len(logged) - sum(map(len, groups))
        for group in groups:
            if unseen := hidden(candidate, group[0]):
                tally.hidden, tally.masked = unseen, tally.masked + len(group)
                continue
            for part in scored(candidate, decoder, group, tally.fail):
                tally.page(*part)
    took = time.monotonic() - begun
    if not tally.requests:
        raise _nothing(endpoint, candidate, tally)
    latency = _timed(candidate, asked.champion, tally.sample)
    numbers, champion = tally.numbers()
    if latency is not None:
        numbers |= {"p50_ms": latency.candidate_p50_s * 1000, "p99_ms": latency.candidate_p99_s * 1000}
    if latency is not None and asked.champion is not None:
        champion |= {"p50_ms": latency.champion_p50_s * 1000, "p99_ms": latency.champion_p99_s * 1000}
    return Replayed(
        candidate.name,
        endpoint,
        tally.requests,
        tally.failed,
        tally.skipped,
        tally.masked,
        tally.own,
        (tally.last_ms - tally.first_ms) / 1000,
        took,
        numbers,
        champion,
        tally.slices(),
        tally.worst,
        tally.failures,
        dict(tally.answered_by.most_common()),
    )


def _nothing(endpoint: str, candidate: Model, tally: "_Tally") -> HeadraceError:
    """Why nothing was compared."""
    if tally.failures:
        (identifier, why), fix = tally.failures[0], "headrace serving explain " + tally.failures[0][0]
        return RunFailed(
            f"{candidate.name} scored none of {tally.failed} requests", where=f"request {identifier}", why=why, fix=fix
        )
    if tally.unlike:
        return SignatureError(f"{candidate.name} cannot be compared with what {endpoint} answered", why=tally.unlike)
    if tally.hidden:
        return SignatureError(
            f"{candidate.name} takes {', '.join(tally.hidden)}",
            why="the log holds hashes of it only: the endpoint masks it",
            fix="replay a model without it, or a time in which it was not masked",
        )
    why = f"{candidate.name} answered them itself" if tally.own else "none was logged in that time"
    return NotFound(f"no request of {endpoint} to replay", why=why, fix="--since earlier")


class _Tally:
    """Sums over pages; what it holds does not grow with the log, but for labelled rows, of which there is a most."""

    def __init__(self, signature: Signature, asked: Asked) -> None:
        self._outputs = tuple(o.name for o in signature.outputs)
        self._asked = asked
        self._whole = Side()
        self._slices: dict[str, defaultdict[str, Side]] = {name: defaultdict(Side) for name in asked.slices}
        self._difference = 0.0
        self._bins: Bins | None = None
        self._counts: list[Any] = []
        self._held: list[tuple[NDArray[Any], NDArray[Any]]] = []
        self._truth, self._before, self._after = array("d"), array("d"), array("d")
        self.answered_by: Counter[str] = Counter()
        self.requests = self.failed = self.skipped = self.masked = self.own = 0
        self.unlike, self.hidden = "", list[str]()
        self.failures: list[tuple[str, str]] = []
        self.first_ms, self.last_ms = 0, 0
        self.worst: list[tuple[str, float]] = []
        self.sample: list[Call] = []

    def page(self, group: Sequence[Prediction], answers: Mapping[str, Any], call: Call) -> None:
        """Add requests with the candidate's answers to all their rows."""
        after = np.column_stack([flat(answers[name]) for name in self._outputs])
        if why := self._unlike(group[0], after.shape[1]):
            self.unlike, self.skipped = why, self.skipped + len(group)
            return
        before, counts = self._answered(group)
        gap = np.abs(after - before).max(axis=1)
        differ = gap > self._asked.tolerance
        first, now = before[:, 0], after[:, 0]
        self._whole.add(first, now, differ)
        self._difference += float(np.abs(now - first).sum())
        self._distribution(first, now)
        self._slice(group, first, now, differ)
        ends = np.cumsum(counts)
        self._label(group, ends - counts, first, now)
        self._rank(group, np.maximum.reduceat(gap, ends - counts))
        self.first_ms = min(self.first_ms or group[0].at_ms, *(p.at_ms for p in group))
        self.last_ms = max(self.last_ms, *(p.at_ms for p in group))
        self.answered_by.update(p.winner for p in group)
        self.requests += len(group)
        if len(self.sample) < _TIMED:
            self.sample += _single(call, _TIMED - len(self.sample))

    def fail(self, one: Prediction, why: str) -> None:
        """Add a request that the candidate gave no score for."""
        self.failed += 1
        self._whole.failed += len(next(iter(one.outputs.values())))
        for name, sides in self._slices.items():
            for cell in self._cells(one, name):
                sides[_category(cell)].failed += 1
        if len(self.failures) < _WORST:
            self.failures.append((one.id, why))

    def numbers(self) -> tuple[dict[str, float], dict[str, float]]:
        """The candidate's, and what was answered."""
        self._settle()
        rows = max(self._whole.rows, 1)
        own = {
            "error_rate": self.failed / max(self.requests + self.failed, 1),
            "disagreement": self._whole.disagreement,
            "mean_difference": self._difference / rows,
            "score_psi": psi(*self._counts) if self._counts else 0.0,
        }
        truth = np.array(self._truth)
        if not len(truth):
            return own, {}
        names = _CHANCES if set(np.unique(truth)) <= {0.0, 1.0} and self._are_chances() else ("rmse",)
        return own | measure(truth, self._after, names), measure(truth, self._before, names)

    def slices(self) -> dict[str, dict[str, dict[str, float]]]:
        """The categories with most rows of each column."""
        most = {
            n: Counter({c: s.rows + s.failed for c, s in of.items()}).most_common(_MOST_SLICES)
            for n, of in self._slices.items()
        }
        return {name: {c: self._slices[name][c].to_json() for c, _ in found} for name, found in most.items()}

    def _are_chances(self) -> bool:
        both = np.concatenate([self._before, self._after])
        return bool(both.min() >= 0 and both.max() <= 1)

    def _unlike(self, one: Prediction, values: int) -> str:
        """Why an answer cannot be held against so many values a row; empty when it can."""
        lacking = next((name for name in self._outputs if name not in one.outputs), "")
        if lacking:
            return f"it gives {lacking!r}, which the answers lack"
        answered = self._answered([one])[0].shape[1]
        return "" if answered == values else f"it gives {values} values a row, the answers have {answered}"

    def _answered(self, group: Sequence[Prediction]) -> tuple[NDArray[Any], NDArray[Any]]:
        columns = [np.concatenate([flat(p.outputs[name]) for p in group]) for name in self._outputs]
        counts = np.array([len(p.outputs[self._outputs[0]]) for p in group])
        return np.column_stack(columns), counts

    def _distribution(self, before: NDArray[Any], after: NDArray[Any]) -> None:
        """Counts in bins that the first answers fix."""
        self._held.append((before, after))
        if self._bins is not None or sum(len(b) for b, _ in self._held) >= _EDGES_FROM:
            self._settle()

    def _settle(self) -> None:
        if not self._held:
            return
        held, self._held = [np.concatenate(part) for part in zip(*self._held, strict=True)], []
        if self._bins is None:
            self._bins = Bins("number", quantile_edges(*np.unique(held[0], return_counts=True)))
        added = [self._bins.count(values) for values in held]
        self._counts = [a + b for a, b in zip(self._counts, added, strict=True)] if self._counts else added

    def _slice(self, group: Sequence[Prediction], before: Any, after: Any, differ: Any) -> None:
        for name, sides in self._slices.items():
            cells = np.array([_category(cell) for p in group for cell in self._cells(p, name)])
            for category in np.unique(cells):
                inside = cells == category
                sides[str(category)].add(before[inside], after[inside], differ[inside])

    def _cells(self, one: Prediction, name: str) -> Sequence[Any]:
        if name not in one.columns:
            raise UsageError(f"the log has no column {name!r}", fix=f"one of {', '.join(one.columns)}")
        return one.columns[name]

    def _label(self, group: Sequence[Prediction], starts: Any, before: Any, after: Any) -> None:
        if self._asked.labels is None:
            return
        for prediction, start in zip(group, starts, strict=True):
            for row, truth in self._asked.labels(prediction.id).items():
                if len(self._truth) < _LABELLED and start + row < len(before):
                    self._truth.append(truth)
                    self._before.append(before[start + row])
                    self._after.append(after[start + row])

    def _rank(self, group: Sequence[Prediction], gaps: NDArray[Any]) -> None:
        found = [(p.id, float(gap)) for p, gap in zip(group, gaps, strict=True) if gap > self._asked.tolerance]
        self.worst = sorted([*self.worst, *found], key=lambda pair: -pair[1])[:_WORST]


def _timed(candidate: Model, champion: Model | None, sample: Sequence[Call]) -> Latency | None:
    if not sample:
        return None
    beside = candidate if champion is None or champion.signature != candidate.signature else champion
    return side_by_side(lambda call: call.score(candidate), lambda call: call.score(beside), sample)


def _single(call: Call, most: int) -> list[Call]:
    """Some of a call's rows, each as a call of its own."""
    batch, params = call
    count = len(next(iter(batch.values())))
    rows = [{name: array_[i : i + 1] for name, array_ in batch.items()} for i in range(min(count, most))]
    return [Call(row, params) for row in rows]


def _category(cell: Any) -> str:
    return "null" if cell is None else as_category(cell)
