"""A scorer whose model is in workers, its desk, and a worker's station, in one process over an exchange in memory."""

import asyncio
import threading
import time
from dataclasses import replace

import pytest
from memory_exchange import MemoryExchange
from served import ROW, WINE, Function, constant, linear, until

from headrace.errors import RunFailed, Unavailable
from headrace.models.params import Param
from headrace.models.version import ModelVersion
from headrace.serving import desk as desk_module
from headrace.serving.counters import ScorerCounters
from headrace.serving.desk import Desks, Errand
from headrace.serving.endpoint import Batching
from headrace.serving.exchange import Asked, Present, Scored, pack
from headrace.serving.frames import packed
from headrace.serving.lane import Terms
from headrace.serving.outcome import DIED, EXPIRED, NO_WORKER, QUEUE_FULL, UNANSWERED
from headrace.serving.remote import RemoteScorer, elsewhere
from headrace.serving.request import TableDecoder
from headrace.serving.station import Station
from headrace.serving.tuned import tuned
from headrace.serving.versions import Model

INPUT = TableDecoder(WINE).of_records([ROW])
ERRAND = Errand(("wine@1", "wine@2"), "wine@1", 0.2)


def version(number=1):
    return ModelVersion("wine", number, "digest", WINE, "onnx")


class Ticket:
    """Remembers what arrived."""

    def __init__(self, identifier="id"):
        self.id, self.input, self.started = identifier, INPUT, time.monotonic()
        self.outcomes, self.came, self.queued = [], threading.Event(), 0.0

    def arrived(self, slot, outcome):
        self.outcomes.append((slot, outcome))
        self.came.set()


@pytest.fixture
def loop():
    """An event loop in a thread of its own."""
    made = asyncio.new_event_loop()
    thread = threading.Thread(target=made.run_forever)
    thread.start()
    yield made
    made.call_soon_threadsafe(made.stop)
    thread.join()
    made.close()


@pytest.fixture
def on_loop(loop):
    """Runs a callable on the event loop, and returns what it returns."""

    def run(call, *args, **more):
        async def called():
            return call(*args, **more)

        return asyncio.run_coroutine_threadsafe(called(), loop).result(10)

    return run


@pytest.fixture
def exchange():
    return MemoryExchange()


@pytest.fixture
def desk(exchange, loop):
    opened = Desks(exchange, loop).of("wine")
    until(lambda: not opened.trouble)
    return opened


@pytest.fixture
def scorer(desk):
    def make(number=1, model=None, **terms):
        said = {"project": None, "terms": Terms(**terms), "counters": ScorerCounters()}
        return RemoteScorer(model or elsewhere(version(number)), desk, ERRAND, **said)

    return make


def here(function):
    return Model(version(), Function(function), p99_s=1.0, compared=0, one={})


@pytest.fixture
def station(exchange):
    made = []

    def make(function, number=1, projections=lambda *_: None):
        model = Model(version(number), Function(function), p99_s=1.0, compared=0, one={})
        made.append(Station("wine", model, exchange.other(), "w", projections=projections, terms=Terms()))
        until(lambda: not made[-1].trouble)
        return made[-1]

    yield make
    for one in made:
        one.stop()
        one.join()


def present(exchange, *versions, leaving=False):
    exchange.tell("wine", pack(Present("w", dict.fromkeys(versions, ""), leaving)))


def met(exchange, desk, *versions):
    present(exchange, *versions)
    until(lambda: all(desk.workers(version) for version in versions))


def test_workers_of_every_version_score_what_is_sent_once(exchange, desk, scorer, station, on_loop):
    sent = []
    ask, exchange.ask = exchange.ask, lambda endpoint, message: (sent.append(message), ask(endpoint, message))
    station(linear, 1)
    station(constant(7.0), 2)
    met(exchange, desk, "wine@1", "wine@2")
    ticket, scorers = Ticket(), (scorer(1), scorer(2))
    # As the rendezvous does: before any score can come.
    assert on_loop(lambda: [one.submit(ticket, slot) for slot, one in enumerate(scorers)]) == [None, None]
    until(lambda: len(ticket.outcomes) == 2)
    assert {slot: outcome.outputs for slot, outcome in ticket.outcomes} == {
        0: {"quality": [147.5]},
        1: {"quality": [7.0]},
    }
    assert len(sent) == 1


def test_the_hops_of_a_score_are_a_worker_s_own(exchange, desk, scorer, station, on_loop):
    def slow(batch):
        time.sleep(0.1)
        return constant(7.0)(batch)

    station(slow)
    met(exchange, desk, "wine@1")
    ticket = Ticket()
    assert on_loop(scorer().submit, ticket, 0) is None
    assert ticket.came.wait(10)
    outcome = ticket.outcomes[0][1]
    moments = (ticket.started, ticket.queued, outcome.begun, *outcome.within, outcome.at)
    assert list(moments) == sorted(moments)
    assert outcome.within[1] - outcome.within[0] >= 0.1


@pytest.mark.parametrize("ahead_s", [-3600.0, 3600.0])
def test_a_worker_whose_clock_is_wrong_was_at_work_between_question_and_answer(
    exchange, desk, scorer, on_loop, ahead_s
):
    met(exchange, desk, "wine@1")
    ticket = Ticket()
    assert on_loop(scorer().submit, ticket, 0) is None
    said = ("id", "wine@1", "w", packed({"quality": [1.0]}), "", (time.time() + ahead_s) * 1000, 0.0, 1e-6)
    exchange.tell("wine", pack(Scored(*said)), 0)
    assert ticket.came.wait(10)
    outcome = ticket.outcomes[0][1]
    moments = (ticket.queued, outcome.begun, *outcome.within, outcome.at)
    assert list(moments) == sorted(moments)
    assert outcome.within[1] - outcome.within[0] == pytest.approx(1e-6, abs=1e-7)


def test_a_worker_whose_clock_is_ahead_is_told_from_one_that_is_late(exchange, desk, scorer, on_loop):
    met(exchange, desk, "wine@1")
    one = scorer()

    def expired(ticket):
        assert on_loop(one.submit, ticket, 0) is None
        said = (ticket.id, "wine@1", "w", [], EXPIRED, (time.time() + 60) * 1000, 0.0, 0.0)
        exchange.tell("wine", pack(Scored(*said)), 0)
        assert ticket.came.wait(10)

    late = Ticket("late")
    late.started -= 1.0
    expired(late)
    assert one.trouble == ""
    expired(Ticket("soon"))
    assert one.trouble.startswith("the clock of worker w is 60.0 s ahead of this host's")
    assert one.counters.here == 0


def test_what_a_worker_with_a_wrong_clock_takes_for_late_is_scored_here(exchange, desk, scorer, on_loop):
    met(exchange, desk, "wine@1")
    one, ticket = scorer(model=here(linear), wait_s=10.0), Ticket("soon")
    assert on_loop(one.submit, ticket, 0) is None
    said = ("soon", "wine@1", "w", [], EXPIRED, (time.time() + 60) * 1000, 0.0, 0.0)
    exchange.tell("wine", pack(Scored(*said)), 0)
    assert ticket.came.wait(10)
    assert (ticket.outcomes[0][1].error, one.counters.here) == ("", 1)
    one.close()


def test_a_score_that_comes_twice_arrives_once(exchange, desk, scorer, on_loop):
    met(exchange, desk, "wine@1")
    ticket, one = Ticket(), scorer()
    assert on_loop(one.submit, ticket, 0) is None
    answer = pack(Scored("id", "wine@1", "w", packed({"quality": [1.0]}), "", 0.0, 0.0, 0.0))
    for _ in range(2):
        exchange.tell("wine", answer, 0)
    until(lambda: desk.repeated == 1)
    assert len(ticket.outcomes) == 1
    assert desk.rows("wine@1") == 0


def test_how_long_requests_wait_for_workers_is_seen(exchange, desk, scorer, on_loop, monkeypatch):
    """Whoever still waits for them."""
    met(exchange, desk, "wine@1")
    one = scorer()
    assert on_loop(one.submit, Ticket(), 0) is None  # its deadline is 0.2 s

    def answered(ago_s):
        identifier = f"{int((time.time() - ago_s) * 1000):012x}7{'0' * 19}"
        exchange.tell("wine", pack(Scored(identifier, "wine@1", "w", [], "", 0.0, waited_s=1.0, took_s=0.5)), 0)

    answered(ago_s=4.5)
    until(lambda: desk.behind_s("wine@1"))
    assert desk.behind_s("wine@1") == pytest.approx(4.0, abs=0.5)
    assert one.state.startswith("1 worker, ")
    assert one.state.endswith(" s behind")
    assert desk.behind.startswith("requests for wine@1 wait ")
    on_loop(one.check, time.monotonic())
    assert one.counters.behind_s == desk.behind_s("wine@1")
    monkeypatch.setattr(desk_module, "_STANDS_S", 0.0)
    answered(ago_s=0.5)
    until(lambda: desk.behind_s("wine@1") < 0.2)
    assert (desk.behind, one.state) == ("", "1 worker")


def test_what_cannot_be_read_stops_nothing(exchange, desk, capsys):
    exchange.tell("wine", b"\xc1 not ours", 0)
    met(exchange, desk, "wine@1")
    assert "cannot be read" in capsys.readouterr().err


def test_without_a_worker_the_model_that_is_loaded_here_scores(scorer, on_loop):
    one, ticket = scorer(model=here(linear)), Ticket()
    assert on_loop(one.takes, 1)
    assert on_loop(one.submit, ticket, 0) is None
    assert ticket.came.wait(10)
    assert ticket.outcomes[0][1].outputs == {"quality": [147.5]}
    assert one.counters.here == 1
    assert one.trouble == "no worker has it"
    one.close()


def test_without_a_worker_a_model_that_is_not_here_has_no_score(scorer, on_loop):
    one = scorer()
    assert not on_loop(one.takes, 1)
    assert on_loop(one.submit, Ticket(), 0).error == NO_WORKER
    assert one.state == "no worker"
    with pytest.raises(RunFailed):
        one.model.loaded.score({})


def test_while_the_exchange_is_away_the_model_that_is_loaded_here_scores(exchange, desk, scorer, on_loop):
    met(exchange, desk, "wine@1")
    exchange.trouble = "no broker"
    one, ticket = scorer(model=here(linear)), Ticket()
    assert on_loop(one.submit, ticket, 0) is None
    assert ticket.came.wait(10)
    assert not ticket.outcomes[0][1].error
    assert "no broker" in one.trouble
    assert "no broker" in on_loop(scorer().submit, Ticket("other"), 0).error
    one.close()


def test_what_no_worker_answers_for_half_of_the_time_is_scored_here(exchange, desk, scorer, on_loop):
    met(exchange, desk, "wine@1")
    one, ticket = scorer(model=here(linear), wait_s=0.1), Ticket()
    assert on_loop(one.submit, ticket, 0) is None
    assert ticket.came.wait(10)
    assert time.monotonic() - ticket.started >= 0.05
    assert not ticket.outcomes[0][1].error
    exchange.tell("wine", pack(Scored("id", "wine@1", "w", packed({"quality": [1.0]}), "", 0.0, 0.0, 0.0)), 0)
    until(lambda: desk.repeated == 1)  # which comes too late
    assert len(ticket.outcomes) == 1
    one.close()


def test_so_many_rows_may_be_under_way_and_no_more(exchange, desk, scorer, on_loop):
    met(exchange, desk, "wine@1")
    one = scorer(batching=Batching(max_batch_rows=2, max_queue_rows=2))
    assert [on_loop(one.submit, Ticket(str(n)), 0) for n in range(2)] == [None, None]
    assert on_loop(one.full, 1)
    assert on_loop(one.submit, Ticket("third"), 0).error == QUEUE_FULL


def test_a_worker_that_is_silent_or_leaves_is_forgotten(exchange, desk, on_loop, monkeypatch):
    met(exchange, desk, "wine@1")
    present(exchange, "wine@1", leaving=True)
    until(lambda: not desk.workers("wine@1"))
    met(exchange, desk, "wine@1")
    monkeypatch.setattr(desk_module, "_ABSENT_S", 0.0)
    on_loop(desk.check, time.monotonic() + 1)
    assert not desk.workers("wine@1")


def test_what_nobody_ever_answers_is_given_up(exchange, desk, scorer, on_loop, monkeypatch):
    monkeypatch.setattr(desk_module, "_KEEP_S", 0.0)
    met(exchange, desk, "wine@1")
    one, ticket = scorer(), Ticket()
    assert on_loop(one.submit, ticket, 0) is None
    on_loop(one.check, time.monotonic() + 1)
    assert ticket.outcomes[0][1].error == UNANSWERED
    assert desk.rows("wine@1") == 0


def test_a_version_that_no_worker_scores_is_refused(exchange, loop, monkeypatch):
    monkeypatch.setattr(desk_module, "_MEET_S", 0.0)
    desks = Desks(exchange, loop)
    with pytest.raises(Unavailable, match=r"no worker scores wine@3.*headrace serving worker wine --model wine@3"):
        desks.require("wine", "wine@3")
    monkeypatch.setattr(desk_module, "_MEET_S", 10.0)
    until(lambda: not desks.of("wine").trouble)
    exchange.tell("wine", pack(Present("w", {"wine@3": ""})))
    desks.require("wine", "wine@3")


def asked(exchange, identifier, wanted=("wine@1",), ago_s=0.0, contract="wine@1"):
    sent_ms = (time.time() - ago_s) * 1000
    exchange.ask("wine", pack(Asked(identifier, 0, wanted, contract, sent_ms, 100.0, 1, packed(INPUT.batch))))


@pytest.fixture
def answered(exchange):
    """What workers answered, by request."""
    found = {}

    def take(messages):
        for message in messages:
            scored = desk_module.answers.decode(message)
            if isinstance(scored, Scored):
                found[scored.id] = scored

    exchange.listen("wine", take)
    return found


def test_a_station_passes_over_what_is_not_its_own_and_what_came_too_late(exchange, answered, station):
    seen = []
    station(lambda batch: seen.append(len(batch["numbers"])) or linear(batch))
    asked(exchange, "other", wanted=("wine@2",))
    asked(exchange, "late", ago_s=60.0)
    asked(exchange, "good")
    until(lambda: "good" in answered)
    assert "deadline" in answered["late"].error
    assert "other" not in answered
    assert seen == [1]


def test_a_model_that_raises_fails_its_score_and_no_more(exchange, answered, station):
    def moody(batch):
        raise ValueError("not today")

    station(moody)
    asked(exchange, "bad")
    until(lambda: "bad" in answered)
    assert "not today" in answered["bad"].error
    assert not exchange.shared.aside


def test_what_cannot_be_read_is_set_aside_and_the_group_goes_on(exchange, answered, station):
    station(linear)
    exchange.ask("wine", b"\xc1 not ours")
    asked(exchange, "good")
    until(lambda: "good" in answered)
    ((value, why),) = exchange.shared.aside
    assert value == b"\xc1 not ours"
    assert "cannot be read" in why


def test_what_the_ledger_cannot_say_now_is_not_set_aside(exchange, answered, station):
    """What a batch holds that is of another version's columns."""

    def projections(contract, _signature):
        if contract == "wine@9":
            raise Unavailable("the ledger is away")

    station(linear, projections=projections)
    asked(exchange, "unknown", contract="wine@9")
    asked(exchange, "good")
    until(lambda: "good" in answered)
    assert "unknown" not in answered
    assert not exchange.shared.aside


def test_what_a_model_dies_of_twice_is_set_aside_and_what_came_with_it_is_scored(exchange, answered, station):
    go, died = threading.Event(), []

    def fragile(batch):
        assert go.wait(10)
        if batch["numbers"][:, 0].max() > 100:
            died.append(1)
            raise RunFailed(DIED, why="it was killed")
        return linear(batch)

    station(fragile)
    for number in range(3):
        asked(exchange, f"good {number}")
    poison = TableDecoder(WINE).of_records([{**ROW, "alcohol": 1000.0}])
    exchange.ask(
        "wine", pack(Asked("poison", 0, ("wine@1",), "wine@1", time.time() * 1000, 9e9, 1, packed(poison.batch)))
    )
    go.set()
    until(lambda: len(answered) == 4)
    assert "set aside" in answered["poison"].error
    assert [bool(answered[f"good {n}"].error) for n in range(3)] == [False] * 3
    assert len(exchange.shared.aside) == 1
    assert len(died) <= 4  # with others, alone within the batch, and once more alone


def test_a_station_that_stops_finishes_what_it_took(exchange, answered, station):
    go = threading.Event()
    one = station(lambda batch: go.wait(10) and linear(batch))
    asked(exchange, "held")
    until(lambda: one._inside == 1)
    one.stop()
    go.set()
    one.join()
    assert not answered["held"].error
    assert one.trouble == "it has left its group"


def test_what_two_workers_died_of_is_set_aside_by_the_third(exchange, answered, station):
    exchange.join("wine", "wine@1")
    asked(exchange, "deadly")
    for _ in range(3):  # the first begins it, and whoever takes over cannot know that
        doomed = exchange.join("wine", "wine@1")
        doomed.take(0.0, 1)
        doomed.close()
    station(linear)
    until(lambda: "deadly" in answered)
    assert "2 workers died while they had it" in answered["deadly"].error
    ((_, why),) = exchange.shared.aside
    assert "2 workers" in why
    asked(exchange, "good")
    until(lambda: "good" in answered)


def test_params_travel_to_the_workers(scorer, exchange, desk, on_loop):
    wine = replace(WINE, params=(Param("factor", "float64", 1.0),))

    class Tunable(Function):
        def tuned(self, params):
            return Function(constant(params["factor"]))

    version_ = ModelVersion("wine", 1, "digest", wine, "python")
    model = Model(version_, Tunable(constant(1.0)), p99_s=1.0, compared=0, one={})
    made = Station("wine", model, exchange.other(), "w", projections=lambda *_: None, terms=Terms())
    try:
        met(exchange, desk, "wine@1")
        remote, asked = scorer(), []
        for identifier, params in (("a", None), ("b", {"factor": 7.0})):
            asked.append(Ticket(identifier))
            asked[-1].input = tuned(INPUT, wine, params)
            assert on_loop(remote.submit, asked[-1], 0) is None
        for ticket, due in zip(asked, (1.0, 7.0), strict=True):
            assert ticket.came.wait(10)
            assert ticket.outcomes[0][1].outputs == {"quality": [due]}
    finally:
        made.stop()
        made.join()
