from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from served import Function, model

from headrace.cli.replayed import lines
from headrace.delivery.replay import Asked, replay
from headrace.errors import IntegrityError, NotFound, RunFailed, SignatureError, UsageError
from headrace.models.params import Param
from headrace.models.signature import Column, Signature, Tensor
from headrace.serving.outcome import AWAY
from headrace.serving.records import DEFAULT, Prediction

SIGNATURE = Signature("table", (Column("heat", "float64"), Column("site", "string")), (Column("wear", "float32"),))
HOUR_MS = 3_600_000


def served(factor, signature=SIGNATURE):
    """A model that answers a tenth of the heat, so many times; 0.5 more in the north."""

    def score(batch):
        north = 0.5 * (batch["strings"][:, 0] == "north") if factor != 1 else 0.0
        return {"wear": (batch["numbers"][:, 0] * 0.1 * factor + north).astype(np.float32)}

    return model("wear@2", score, signature=signature)


def prediction(number, heats, sites, *, winner="wear@1", **changed):
    fields = {
        "id": f"id-{number}",
        "endpoint": "wear",
        "at_ms": 1_700_000_000_000 + number * 1000,
        "columns": {"site": sites, "heat": heats},
        "event_time": [],
        "outputs": {"wear": [h * 0.1 for h in heats]} if winner != DEFAULT else {"wear": [0.0] * len(heats)},
        "winner": winner,
        "reason": "",
        "elapsed_s": 0.001,
        "scores": (),
        "deployment": 1,
    }
    return number, Prediction(**(fields | changed))


@pytest.fixture
def pages():
    rng = np.random.default_rng(3)
    made = []
    for page in range(5):
        heats = rng.uniform(1, 9, (100, 3)).round(3).tolist()
        made.append([prediction(page * 100 + i, h, ["north", "south", "east"]) for i, h in enumerate(heats)])
    return made


def test_the_same_model_differs_nowhere(pages):
    found = replay("wear", pages, served(1), Asked())
    assert (found.requests, found.skipped, found.span_s) == (500, 0, 499.0)
    assert found.numbers["disagreement"] == 0
    assert found.numbers["mean_difference"] < 1e-6
    assert found.numbers["score_psi"] < 1e-3
    assert found.worst == []
    assert found.numbers["p99_ms"] >= found.numbers["p50_ms"] > 0
    assert found.speed > 20


def test_what_differs_is_counted_by_row_and_by_slice_and_the_worst_are_named(pages):
    pages[4][99] = prediction(499, [1.0, 900.0, 1.0], ["north", "south", "east"])
    found = replay("wear", pages, served(1.1), Asked(tolerance=0.2, slices=("site",)))
    sites = found.slices["site"]
    assert {name: side["rows"] for name, side in sites.items()} == {"north": 500, "south": 500, "east": 500}
    assert sites["north"]["disagreement"] == 1
    assert sites["south"]["disagreement"] == pytest.approx(1 / 500)
    assert sites["north"]["mean_after"] == pytest.approx(sites["north"]["mean_before"] * 1.1 + 0.5, abs=1e-3)
    assert found.numbers["disagreement"] == pytest.approx(501 / 1500)
    assert found.worst[0] == ("id-499", pytest.approx(9.0, abs=1e-3))
    assert found.numbers["score_psi"] > 0.01


def test_labels_say_who_was_nearer(pages):
    def labels(identifier):
        number = int(identifier[3:])
        (before,) = [p.outputs["wear"] for page in pages for n, p in page if n == number]
        return {0: before[0] * 1.1 + 0.5, 2: before[2] * 1.1}

    found = replay("wear", pages, served(1.1), Asked(labels=labels))
    assert found.numbers["rmse"] < 1e-4
    assert found.champion["rmse"] > 0.1


def test_chances_are_judged_as_chances(pages):
    tenth = [[(n, p) for n, p in page] for page in pages]
    for page in tenth:
        for _, p in page:
            p.outputs["wear"][:] = [h / 10 for h in p.columns["heat"]]

    def labels(identifier):
        return {0: float(hash(identifier) % 2)}

    found = replay("wear", tenth, served(1), Asked(labels=labels))
    assert {"auc", "log_loss", "brier"} <= found.numbers.keys()
    assert found.numbers["auc"] == pytest.approx(found.champion["auc"], abs=1e-6)


def test_what_no_model_answered_is_left_out_and_counted(pages):
    pages[0][0] = prediction(0, [5.0], ["north"], winner=DEFAULT)
    found = replay("wear", pages, served(1), Asked())
    assert (found.requests, found.skipped) == (499, 1)


def test_what_it_answered_itself_shows_nothing_and_is_left_out(pages):
    """After a canary of it, half of the log would agree with it."""
    pages[0] = [prediction(n, p.columns["heat"], p.columns["site"], winner="wear@2") for n, p in pages[0]]
    found = replay("wear", pages, served(1.1), Asked())
    assert (found.requests, found.own, dict(found.answered_by)) == (400, 100, {"wear@1": 400})
    both = replay("wear", pages, served(1.1), Asked(own_too=True))
    assert (both.requests, both.own, dict(both.answered_by)) == (500, 0, {"wear@1": 400, "wear@2": 100})
    with pytest.raises(NotFound, match="wear@2 answered them itself"):
        replay("wear", pages[:1], served(1.1), Asked())


def test_answers_of_another_shape_are_left_out_and_counted(pages):
    pages[1][7] = prediction(107, [1.0, 2.0], ["north", "south"], outputs={"wear": [[0.1, 0.2, 0.7]] * 2})
    found = replay("wear", pages, served(1), Asked())
    assert (found.requests, found.skipped) == (499, 1)
    assert found.numbers["disagreement"] == 0


@pytest.mark.parametrize(
    ("outputs", "why"),
    [
        ({"wear": [[0.1, 0.9]]}, "it gives 1 values a row, the answers have 2"),
        ({"rust": [0.1]}, "it gives 'wear', which the answers lack"),
    ],
)
def test_answers_that_cannot_be_compared_are_refused_with_the_reason(outputs, why):
    page = [prediction(0, [1.0], ["north"], outputs=outputs)]
    with pytest.raises(SignatureError, match=why):
        replay("wear", [page], served(1), Asked())


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda wear, hot: np.where(hot, np.nan, wear), "ValueError: 'wear' is not finite"),
        (lambda wear, hot: np.where(hot, np.inf, wear), "ValueError: 'wear' is not finite"),
        (lambda wear, hot: wear[~hot], "ValueError: wrong shape"),
        (lambda wear, hot: wear / 0 if hot.any() and 1 // 0 else wear, "ZeroDivisionError: "),
    ],
)
def test_a_request_without_a_score_ends_no_replay_and_differs(pages, spoil, why):
    def score(batch):
        heat = batch["numbers"][:, 0]
        return {"wear": spoil((heat * 0.1).astype(np.float32), heat > 100)}

    for page, at in ((0, 0), (2, 41), (2, 42)):
        number, one = pages[page][at]
        pages[page][at] = prediction(number, [101.0, 1.0, 1.0], one.columns["site"])
    found = replay("wear", pages, model("wear@2", score, signature=SIGNATURE), Asked(slices=("site",)))
    assert (found.requests, found.failed, found.skipped) == (497, 3, 0)
    assert found.numbers["error_rate"] == 3 / 500
    assert found.numbers["disagreement"] == 3 / 500  # and with every other request it agrees
    assert found.slices["site"]["north"] | {"mean_before": 0, "mean_after": 0} == {
        "rows": 500,
        "disagreement": 3 / 500,
        "mean_before": 0,
        "mean_after": 0,
    }
    assert [one[0] for one in found.failures] == ["id-0", "id-241", "id-242"]
    assert all(said.startswith(why) for _, said in found.failures)
    told = "\n".join(lines(found))
    assert "wear@2 on 500 logged requests" in told
    assert f"no score: 3 requests, the first of them\nID      WHY\nid-0    {why}" in told


def test_a_candidate_that_scores_nothing_has_not_been_replayed(pages):
    def score(batch):
        raise ValueError("no")

    with pytest.raises(RunFailed, match=r"wear@2 scored none of 500 requests - request id-0 - ValueError: no"):
        replay("wear", pages, model("wear@2", score, signature=SIGNATURE), Asked())


@pytest.mark.parametrize("error", [RunFailed(f"{AWAY}: it starts"), IntegrityError("the model's files have changed")])
def test_what_is_no_answer_to_a_request_ends_the_replay(pages, error):
    def score(batch):
        raise error

    with pytest.raises(type(error), match=error.what):
        replay("wear", pages, model("wear@2", score, signature=SIGNATURE), Asked())


def test_requests_that_are_masked_are_left_out_and_counted(pages):
    pages[1][7] = prediction(107, [1.0], ["0123456789abcdef"], masked=("site",))
    found = replay("wear", pages, served(1), Asked())
    assert (found.requests, found.masked, found.skipped) == (499, 1, 0)
    assert "left out: 1 are masked in the log" in list(lines(found))[1]
    with pytest.raises(SignatureError, match=r"wear@2 takes site.*hashes of it only"):
        replay("wear", [[pages[1][7]]], served(1), Asked())


def test_the_champion_is_timed_beside_the_candidate(pages):
    slow = served(1)
    quick = slow.loaded.score
    champion = served(1)
    champion.loaded.score = lambda batch: [quick(batch) for _ in range(200)][-1]
    found = replay("wear", pages, slow, Asked(champion=champion))
    assert found.champion["p50_ms"] > 5 * found.numbers["p50_ms"]


def test_a_candidate_that_asks_for_more_is_refused_by_name(pages):
    more = Signature("table", (*SIGNATURE.inputs, Column("wind", "float64")), SIGNATURE.outputs)
    with pytest.raises(SignatureError, match=r"wear@2 takes wind"):
        replay("wear", pages, served(1, more), Asked())


def test_an_empty_span_and_a_strange_slice_are_said(pages):
    with pytest.raises(NotFound, match="no request of wear"):
        replay("wear", [[], []], served(1), Asked())
    with pytest.raises(UsageError, match=r"no column 'colour'.*one of site, heat"):
        replay("wear", pages, served(1), Asked(slices=("colour",)))


@pytest.mark.parametrize("tolerance", [-1.0, float("nan"), float("inf")])
def test_a_tolerance_that_is_none_is_refused_before_anything_is_scored(tolerance):
    with pytest.raises(UsageError, match="tolerance is"):
        Asked(tolerance)


def test_bytes_are_replayed_and_requests_by_another_signature_are_left_out():
    """As the log has them: text where they are that, base64 where not."""
    lengths = Signature("tensor", (Tensor("file", "bytes", (-1,)),), (Tensor("wear", "float32", (-1,)),))
    candidate = model(
        "wear@2", lambda batch: {"wear": np.array([len(f) for f in batch["file"]], np.float32)}, signature=lengths
    )
    files = [{"b64": "/wD/"}, "text"]
    asked = prediction(0, [], [], columns={"file": files}, outputs={"wear": [3.0, 4.0]})
    other = prediction(1, [], [], columns={"inputs": files}, outputs={"wear": [9.0, 9.0]}, signature="regress")
    found = replay("wear", [[asked, other]], candidate, Asked())
    assert (found.requests, found.skipped, found.numbers["disagreement"]) == (1, 1, 0)


class Tunable(Function):
    """Heat times a factor."""

    def __init__(self, factor=0.1):
        super().__init__(lambda batch: {"wear": (batch["numbers"][:, 0] * factor).astype(np.float32)})

    def tuned(self, params):
        return Tunable(**params)


FACTORED = replace(SIGNATURE, params=(Param("factor", "float64", 0.1),))


def told(number, **params):
    """A request with parameters, and what was answered."""
    heats = [1.0, 2.0]
    outputs = {"wear": [heat * params.get("factor", 0.1) for heat in heats]}
    return prediction(number, heats, ["north", "south"], params=params, outputs=outputs)


def test_a_replay_says_what_callers_said():
    candidate = replace(served(1, FACTORED), loaded=Tunable())
    pages = [[told(0), told(1, factor=0.5), told(2, factor=3.0), told(3), told(4, factor=0.5)]]
    found = replay("wear", pages, candidate, Asked(tolerance=1e-6))
    assert (found.requests, found.numbers["disagreement"]) == (5, 0)
    off = replay("wear", [[told(0), told(1, factor=0.5)]], replace(candidate, loaded=Tunable(0.2)), Asked())
    assert off.worst == [("id-0", pytest.approx(0.2))]  # only where its own default holds


class Timed(Tunable):
    """The same, which remembers what factor each call was told."""

    def __init__(self, factor=0.1, calls=None):
        super().__init__(factor)
        self.calls, answers = [] if calls is None else calls, self.score

        def score(batch):
            self.calls.append((len(batch["numbers"]), factor))
            return answers(batch)

        self.score = score

    def tuned(self, params):
        return Timed(params["factor"], self.calls)


def test_both_are_timed_with_what_callers_said():
    """A default may be ten times as quick as what is asked of a model."""
    candidate = replace(served(1, FACTORED), loaded=Timed())
    champion = replace(served(1, FACTORED), loaded=Timed())
    pages = [[told(0, factor=0.5), told(1, factor=3.0)]]
    found = replay("wear", pages, candidate, Asked(champion=champion))
    for model_ in (candidate, champion):
        timed = Counter(factor for rows, factor in model_.loaded.calls if rows == 1)
        assert timed == {0.5: 220, 3.0: 220}  # 400 calls and 40 to warm up, in turns
    assert found.champion["p50_ms"] > 0


def test_a_candidate_that_cannot_be_told_is_refused():
    pages = [[told(0), told(1, factor=0.5)]]
    with pytest.raises(SignatureError, match=r"'factor' is not one of this model - wear@2 - it declares none"):
        replay("wear", pages, served(1), Asked())
    hidden = [[prediction(0, [1.0], ["north"], params={"factor": "0123"}, masked=("factor",))]]
    with pytest.raises(SignatureError, match="hashes of it only"):
        replay("wear", hidden, replace(served(1, FACTORED), loaded=Tunable()), Asked())
