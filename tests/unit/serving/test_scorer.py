import threading
import time

import numpy as np
import pytest
from served import ROW, WINE, Function, constant, linear

from headrace.serving import scorer as scorer_module
from headrace.serving.endpoint import Batching
from headrace.serving.lane import Terms
from headrace.serving.outputs import checked
from headrace.serving.request import TableDecoder
from headrace.serving.scorer import Scorer

INPUT = TableDecoder(WINE).of_records([ROW])


class Ticket:
    """Remembers what arrived."""

    def __init__(self, given=INPUT):
        self.input, self.started = given, time.monotonic()
        self.outcomes = []
        self.came = threading.Event()

    def arrived(self, slot, outcome):
        self.outcomes.append((slot, outcome))
        self.came.set()


class Ready:
    """A model that is as fast as it says."""

    name, signature, trouble, shapes = "wine@1", WINE, "", {"quality": ()}

    def __init__(self, function, *, fast, still_fast):
        self.loaded, self.fast, self.still_fast = Function(function), fast, still_fast


def direct(call, *args):
    call(*args)


@pytest.fixture
def make():
    made = []

    def make_scorer(function, inline=False, still_fast=lambda: True, **how):
        ready = {"fast": inline, "still_fast": still_fast}
        made.append(Scorer(Ready(function, **ready), post=direct, **how))
        return made[-1]

    yield make_scorer
    for scorer in made:
        scorer.close()


def test_an_inline_model_answers_at_once(make):
    outcome = make(linear, inline=True).submit(Ticket(), 0)
    assert outcome.outputs == {"quality": [147.5]}
    assert outcome.error == ""


def test_another_answers_from_its_thread(make):
    ticket = Ticket()
    assert make(linear).submit(ticket, 3) is None
    assert ticket.came.wait(5)
    assert ticket.outcomes[0][0] == 3
    assert ticket.outcomes[0][1].outputs == {"quality": [147.5]}


def raises(batch):
    raise ZeroDivisionError("by hand")


BAD = [
    (constant(np.nan), "not finite"),
    (constant(np.inf), "not finite"),
    (lambda b: {"quality": np.zeros(7, np.float32)}, "wrong shape"),
    (lambda b: {"quality": np.zeros((0, 1), np.float32)}, "wrong shape"),
    (lambda b: {"quality": np.zeros((1, 3), np.float32)}, "wrong shape: 'quality' is [1, 3], [1] is due"),
    (lambda b: {"quality": np.array(None, np.float32)}, "wrong shape: 'quality' is [], [1] is due"),
    (lambda b: {"other": np.zeros(1)}, "no output 'quality'"),
    (lambda b: None, "TypeError"),
    (raises, "ZeroDivisionError: by hand"),
]


@pytest.mark.parametrize(("function", "said"), BAD)
@pytest.mark.parametrize("inline", [True, False])
def test_what_is_no_score_is_a_failure(make, function, said, inline):
    ticket = Ticket()
    outcome = make(function, inline=inline).submit(ticket, 0)
    if outcome is None:
        assert ticket.came.wait(5)
        outcome = ticket.outcomes[0][1]
    assert said in outcome.error
    assert outcome.outputs == {}


def test_an_overrun_leaves_the_event_loop_until_measured_fast_again(make, monkeypatch):
    monkeypatch.setattr(scorer_module, "_OVERRUN_S", 0.0005)
    slow = [0.002]
    scorer = make(lambda batch: time.sleep(slow[0]) or linear(batch), inline=True, still_fast=lambda: not slow[0])
    assert scorer.submit(Ticket(), 0).error == ""
    assert (scorer.state, scorer.between) == ("thread", True)
    assert scorer.submit(Ticket(), 0) is None
    slow[0] = 0
    until = time.monotonic() + 5
    while scorer.state != "inline" and time.monotonic() < until:
        scorer.check(time.monotonic() + 1)
    assert (scorer.state, scorer.between) == ("inline", False)


def test_one_that_overruns_again_and_again_has_itself_to_blame(make, monkeypatch):
    monkeypatch.setattr(scorer_module, "_OVERRUN_S", 0.0005)
    scorer = make(lambda batch: time.sleep(0.002) or linear(batch), inline=True, still_fast=lambda: True)
    seen = []
    for _ in range(5):
        assert scorer.submit(Ticket(), 0).error == ""
        seen.append(scorer.between)
        until = time.monotonic() + 5
        while scorer.state != "inline" and time.monotonic() < until:
            scorer.check(time.monotonic() + 100)
    assert seen == [True, True, True, True, False]


def test_many_rows_never_block_the_event_loop(make):
    ticket = Ticket(TableDecoder(WINE).of_records([ROW] * 1000))
    assert make(linear, inline=True).submit(ticket, 0) is None
    assert ticket.came.wait(5)
    assert len(ticket.outcomes[0][1].outputs["quality"]) == 1000


def test_waiting_requests_are_scored_together_and_told_apart(make):
    gate, sizes = threading.Event(), []

    def slow(batch):
        gate.wait(5)
        sizes.append(len(batch["numbers"]))
        return linear(batch)

    scorer = make(slow)
    decoder = TableDecoder(WINE)
    tickets = [Ticket(decoder.of_records([{**ROW, "alcohol": float(i)}] * (1 + i % 3))) for i in range(20)]
    for ticket in tickets:
        assert scorer.submit(ticket, 0) is None
    gate.set()
    for i, ticket in enumerate(tickets):
        assert ticket.came.wait(5)
        assert ticket.outcomes[0][1].outputs == {"quality": [135.0 + i] * (1 + i % 3)}
    assert len(sizes) < 20
    assert sum(sizes) == sum(t.input.count for t in tickets)


def test_one_poisonous_request_does_not_fail_those_scored_with_it(make):
    gate = threading.Event()

    def picky(batch):
        gate.wait(5)
        if (batch["numbers"][:, 0] == 13).any():
            raise ValueError("poison")
        return linear(batch)

    scorer = make(picky)
    decoder = TableDecoder(WINE)
    tickets = [Ticket(decoder.of_records([{**ROW, "alcohol": float(i)}])) for i in range(10, 16)]
    for ticket in tickets:
        scorer.submit(ticket, 0)
    gate.set()
    assert all(t.came.wait(5) for t in tickets)
    assert [bool(t.outcomes[0][1].error) for t in tickets] == [False, False, False, True, False, False]


def test_a_full_queue_drops_the_newest(make):
    gate = threading.Event()
    terms = Terms(Batching(max_batch_rows=4, max_queue_rows=4))
    scorer = make(lambda batch: gate.wait(5) and linear(batch), terms=terms)
    outcomes = [scorer.submit(Ticket(), 0) for _ in range(8)]
    gate.set()
    assert outcomes[-1].error == "dropped: the queue is full"


def test_a_request_whose_deadline_passed_in_the_queue_is_not_scored(make):
    gate, begun, seen = threading.Event(), threading.Event(), []

    def held(batch):
        seen.append(len(batch["numbers"]))
        begun.set()
        gate.wait(5)
        return linear(batch)

    scorer = make(held, terms=Terms(expire_s=30.0))
    first, stale, fresh = Ticket(), Ticket(TableDecoder(WINE).of_records([ROW] * 3)), Ticket()
    scorer.submit(first, 0)
    assert begun.wait(5)
    stale.started -= 31
    scorer.submit(stale, 0)
    scorer.submit(fresh, 0)
    gate.set()
    assert all(t.came.wait(5) for t in (first, stale, fresh))
    assert stale.outcomes[0][1].error == "dropped: the deadline passed while it waited"
    assert not first.outcomes[0][1].error
    assert not fresh.outcomes[0][1].error
    assert seen == [1, 1]


def test_a_hanging_model_opens_the_breaker_and_its_thread_is_abandoned(make, monkeypatch):
    monkeypatch.setattr(scorer_module, "_COOLDOWN_S", 0.0)
    gate = threading.Event()
    hangs = [True]

    def model(batch):
        if hangs[0]:
            gate.wait(20)
        return linear(batch)

    scorer = make(model, stuck_s=0.01)
    stuck, behind = Ticket(), Ticket()
    scorer.submit(stuck, 0)
    scorer.submit(behind, 0)
    until = time.monotonic() + 5
    while not behind.outcomes and time.monotonic() < until:
        scorer.check(time.monotonic())
    assert "breaker open" in stuck.outcomes[0][1].error
    assert "breaker open" in behind.outcomes[0][1].error
    hangs[0] = False
    later = Ticket()
    assert scorer.submit(later, 0) is None
    assert later.came.wait(5)
    assert later.outcomes[0][1].outputs == {"quality": [147.5]}
    gate.set()
    while len(stuck.outcomes) < 2 and time.monotonic() < until:
        pass
    assert stuck.outcomes[1][1].outputs == {"quality": [147.5]}


def test_an_open_breaker_refuses_at_once(make):
    gate = threading.Event()
    scorer = make(lambda batch: gate.wait(20) and linear(batch), stuck_s=0.01)
    stuck = Ticket()
    scorer.submit(stuck, 0)
    until = time.monotonic() + 5
    while not stuck.outcomes and time.monotonic() < until:
        scorer.check(time.monotonic())
    assert scorer.state == "breaker open"
    assert "breaker open" in scorer.submit(Ticket(), 0).error
    gate.set()


def test_abandoned_threads_are_bounded(make, monkeypatch):
    monkeypatch.setattr(scorer_module, "_COOLDOWN_S", 0.0)
    gate = threading.Event()
    before = set(threading.enumerate())
    scorer = make(lambda batch: gate.wait(20) and linear(batch), stuck_s=0.001)
    until = time.monotonic() + 5
    while scorer.state != "breaker open" and time.monotonic() < until:
        scorer.submit(Ticket(), 0)
        scorer.check(time.monotonic())
    assert len(set(threading.enumerate()) - before) == 3
    gate.set()


def test_outputs_of_several_values_a_row():
    raw = {"p": np.array([[0.25, 0.75]], np.float32)}
    for shape in ((2,), None):
        assert checked(raw, {"p": shape}, 1) == {"p": [[0.25, 0.75]]}
    with pytest.raises(ValueError, match="not finite"):
        checked({"p": np.array([[0.25, np.nan]])}, {"p": (2,)}, 1)
    with pytest.raises(ValueError, match=r"'p' is \[1, 2\], \[1, 3\] is due"):
        checked(raw, {"p": (3,)}, 1)
