import math

import pytest

from headrace.engines.optuna.sampler import OptunaSampler
from headrace.engines.sqlite.ledger import SqliteLedger
from headrace.errors import RunFailed, UsageError
from headrace.tuning.sampler import Dimension, Study
from headrace.tuning.search import BATCH, Outcome, Trial, best, record, recorded, search

STUDY = Study({"rate": Dimension("uniform", 0.0, 1.0)}, maximize=False, seed=1)


def run(batch):
    return [Outcome({"loss": (settings["rate"] - 0.3) ** 2}, f"key-{settings['rate']}") for settings in batch]


def test_every_trial_is_there_in_order_with_its_scores():
    found = search(OptunaSampler(), STUDY, run, metric="loss", trials=10)
    assert [t.number for t in found] == list(range(10))
    assert all(t.value == t.scores["loss"] == (t.params["rate"] - 0.3) ** 2 for t in found)
    assert all(t.key == f"key-{t.params['rate']}" for t in found)
    assert best(found, maximize=False).value == min(t.value for t in found)


def test_batches_are_of_fixed_size():
    sizes = []

    def counted(batch):
        sizes.append(len(batch))
        return run(batch)

    search(OptunaSampler(), STUDY, counted, metric="loss", trials=BATCH * 2 + 1)
    assert sizes == [BATCH, BATCH, 1]


def test_the_same_search_finds_the_same_and_a_longer_one_begins_alike():
    short, again = (search(OptunaSampler(), STUDY, run, metric="loss", trials=8) for _ in range(2))
    longer = search(OptunaSampler(), STUDY, run, metric="loss", trials=12)
    assert short == again == longer[:8]


def test_the_best_is_the_earliest_of_equals_and_never_a_nan():
    trials = [Trial(i, {}, {}, value) for i, value in enumerate([math.nan, 0.5, 0.7, 0.7])]
    assert best(trials, maximize=True).number == 2
    assert best(trials, maximize=False).number == 1
    with pytest.raises(RunFailed, match="NaN"):
        best(trials[:1], maximize=True)


def test_what_cannot_be_searched_is_refused():
    with pytest.raises(UsageError, match="trials=1 or more"):
        search(OptunaSampler(), STUDY, run, metric="loss", trials=0)
    with pytest.raises(UsageError, match="no 'auc' - they have loss"):
        search(OptunaSampler(), STUDY, run, metric="auc", trials=1)
    turned = Study({"rate": Dimension("uniform", 1.0, 0.0)}, maximize=True)
    with pytest.raises(UsageError, match="'rate' cannot be searched"):
        search(OptunaSampler(), turned, run, metric="loss", trials=1)


def test_trials_are_recorded_once(tmp_path):
    ledger = SqliteLedger(tmp_path / "ledger.db")
    trials = [Trial(i, {"rate": 0.1}, {"loss": 0.2}, 0.2, "key") for i in range(3)]
    assert len(record(ledger, "study", trials[:2], {"experiment": "wine"})) == 2
    assert len(record(ledger, "study", trials, {"experiment": "wine"})) == 1
    assert [fact.body["number"] for fact in recorded(ledger, "study")] == [0, 1, 2]
    assert recorded(ledger)[0].body == {
        "experiment": "wine",
        "number": 0,
        "params": {"rate": 0.1},
        "scores": {"loss": 0.2},
        "value": 0.2,
        "key": "key",
    }
    ledger.close()
