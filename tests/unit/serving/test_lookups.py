"""Lookups: on a thread for all that wait at once; on the event loop what is at hand, and nothing else."""

import queue
import threading
from dataclasses import dataclass, field

import pytest

from headrace.errors import NotFound, Unavailable
from headrace.features.online import Found
from headrace.features.view import FeatureView
from headrace.serving import lookups as lookups_module
from headrace.serving.lookups import Lookups

VIEWS = {name: FeatureView(name, name * 64, {"k": "string"}, {"v": "int64"}, 1) for name in "ab"}


@dataclass
class Wanted:
    views: tuple = ("a",)
    keys: tuple = ((("x",),),)
    over: bool = False
    told: list = field(default_factory=list)

    def found(self, read):
        self.told.append(read)


class Store:
    """Answers each key with how many reads there were; ``held`` reads wait, ``broken`` ones raise."""

    def __init__(self):
        self.reads, self.go, self.entered, self.broken = [], threading.Event(), threading.Event(), {}
        self.in_memory = {}
        self.go.set()

    def read(self, name, keys):
        self.reads.append((threading.current_thread().name, name, len(keys)))
        self.entered.set()
        assert self.go.wait(20)
        if name in self.broken:
            raise self.broken[name]
        return Found(VIEWS[name], [(f"{name}{key[0]}",) for key in keys])

    def at_hand(self, name, keys):
        return self.in_memory.get(name)


class Loop:
    """What is posted is run when a test says."""

    def __init__(self):
        self._posted = queue.SimpleQueue()

    def post(self, call, *arguments):
        self._posted.put((call, arguments))

    def turn(self):
        call, arguments = self._posted.get(timeout=20)
        call(*arguments)


@pytest.fixture
def loop():
    return Loop()


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def lookups(loop, store):
    opened = Lookups(lambda: store, loop.post)
    yield opened
    store.go.set()
    opened.close()


def rows(read):
    return [list(found.rows) for found in read]


def test_what_waits_is_read_together(lookups, loop, store):
    store.go.clear()
    first, gone = Wanted(), Wanted(keys=((("gone",),),), over=True)
    both = Wanted(("a", "b"), ((("y",), ("z",)), (("w",), ("v",))))
    other = Wanted(("b",), ((("u",),),))
    assert lookups.ask(first, 1.0)
    assert store.entered.wait(20)
    for wanted in (gone, both, other):
        assert lookups.ask(wanted, 1.0)
    store.go.set()
    loop.turn()
    loop.turn()
    assert rows(first.told[0]) == [[("ax",)]]
    assert rows(both.told[0]) == [[("ay",), ("az",)], [("bw",), ("bv",)]]
    assert rows(other.told[0]) == [[("bu",)]]
    assert gone.told == []
    assert store.reads == [("features", "a", 1), ("features", "a", 2), ("features", "b", 3)]


def test_one_view_that_fails_is_no_matter_to_who_asks_for_another(lookups, loop, store):
    store.broken["a"] = NotFound("no view a")
    store.go.clear()
    lookups.ask(Wanted(("b",)), 1.0)
    assert store.entered.wait(20)
    both, other = Wanted(("a", "b"), ((("y",),), (("y",),))), Wanted(("b",), ((("u",),),))
    for wanted in (both, other):
        lookups.ask(wanted, 1.0)
    store.go.set()
    loop.turn()
    loop.turn()
    assert str(both.told[0]) == "no view a"
    assert rows(other.told[0]) == [[("bu",)]]


def test_whatever_an_engine_raises_is_told(lookups, loop, store):
    store.broken["a"] = ZeroDivisionError("a fault")
    wanted = Wanted()
    lookups.ask(wanted, 1.0)
    loop.turn()
    assert isinstance(wanted.told[0], Unavailable)
    assert "ZeroDivisionError: a fault" in str(wanted.told[0])


def test_nobody_begins_to_wait_while_reading_hangs(lookups, loop, store, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(lookups_module.time, "monotonic", lambda: now[0])
    store.go.clear()
    assert lookups.ask(Wanted(), 0.5)
    assert store.entered.wait(20)
    assert lookups.ask(Wanted(), 0.5)
    now[0] += 0.6
    assert not lookups.ask(Wanted(), 0.5)
    assert lookups.ask(Wanted(), 2.0)
    store.go.set()
    loop.turn()
    loop.turn()
    assert lookups.ask(Wanted(), 0.5)


def test_no_more_than_so_many_keys_wait(lookups, loop, store):
    """Also of requests that nobody waits for any more: until the thread is back they are kept."""
    store.go.clear()
    large = Wanted(keys=([("x",)] * 1_000_000,))
    assert lookups.ask(large, 60.0)
    assert store.entered.wait(20)
    assert not lookups.ask(Wanted(), 60.0)
    store.go.set()
    loop.turn()
    assert len(rows(large.told[0])[0]) == 1_000_000
    store.go.clear()
    store.entered.clear()
    waiting = 0
    while lookups.ask(Wanted(keys=([("x",)] * 1024,), over=waiting > 0), 60.0):
        waiting += 1
        assert waiting <= 64
    assert waiting == 64


def test_a_read_that_outlives_the_loop_ends_without_a_word(store, monkeypatch):
    said, closed = [], threading.Event()

    def post(*_):
        closed.set()
        raise RuntimeError("Event loop is closed")

    monkeypatch.setattr(threading, "excepthook", said.append)
    lookups = Lookups(lambda: store, post)
    assert lookups.ask(Wanted(), 1.0)
    assert closed.wait(20)
    lookups._thread.join(20)
    assert not lookups._thread.is_alive()
    assert said == []


@pytest.fixture
def read(lookups, loop, store):
    """The same once the thread has read, with view ``a`` at hand; what it may find there."""
    lookups.ask(Wanted(), 1.0)
    loop.turn()
    del store.reads[:]
    store.in_memory["a"] = Found(VIEWS["a"], [("held",)])
    return store.in_memory


def test_what_is_at_hand_is_read_at_once(lookups, store, read):
    assert rows(lookups.at_once(Wanted())) == [[("held",)]]
    assert store.reads == []


def test_a_view_that_is_not_at_hand_is_waited_for_with_those_that_are(lookups, store, read):
    both = Wanted(("a", "b"), ((("y",),), (("w",),)))
    assert lookups.at_once(both) is None
    read["b"] = Found(VIEWS["b"], [("held too",)])
    assert rows(lookups.at_once(both)) == [[("held",)], [("held too",)]]
    assert store.reads == []


def test_many_keys_are_never_read_at_once(lookups, read):
    assert lookups.at_once(Wanted(keys=([("x",)] * 32,))) is not None
    assert lookups.at_once(Wanted(keys=([("x",)] * 33,))) is None


def test_what_is_at_hand_waits_for_no_read_that_hangs(lookups, loop, store, read):
    store.go.clear()
    store.entered.clear()
    lookups.ask(Wanted(), 1.0)
    assert store.entered.wait(20)
    assert rows(lookups.at_once(Wanted())) == [[("held",)]]
    store.go.set()
    loop.turn()


@pytest.mark.parametrize("broken", [True, False])
def test_the_event_loop_opens_no_store(loop, store, broken):
    """To open one may hang; nothing is at hand before the thread has read."""
    opened = []

    def online():
        opened.append(threading.current_thread().name)
        if broken:
            raise Unavailable("away")
        return store

    lookups = Lookups(online, loop.post)
    store.in_memory["a"] = Found(VIEWS["a"], [("held",)])
    assert lookups.at_once(Wanted()) is None
    lookups.ask(Wanted(), 1.0)
    loop.turn()
    assert (lookups.at_once(Wanted()) is None) == broken
    assert opened == (["features"] if broken else ["features", threading.current_thread().name])
    lookups.close()
