"""Models are loaded once, and not while what they were loaded from before is still removed."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from served import constant, model, until

from headrace.serving.aspired import Wanted
from headrace.serving.shelf import Shelf


class Copy:
    """A model that is loaded from a copy, whose removal may take its time."""

    def __init__(self):
        self.there, self.loads, self.removed = False, 0, threading.Event()
        self.removed.set()

    def wanted(self):
        return Wanted("wine@1", "key", self.load, self.discard)

    def load(self):
        self.there, self.loads = True, self.loads + 1
        return model("wine@1", constant(1.0))

    def discard(self):
        self.there = None
        assert self.removed.wait(10)
        self.there = False


def test_a_model_is_loaded_once_for_all_its_users():
    shelf, copy = Shelf(), Copy()
    first, second = shelf.take(copy.wanted()), shelf.take(copy.wanted())
    assert (first is second, copy.loads) == (True, 1)
    shelf.give("key")
    assert (copy.there, shelf.names) == (True, ["wine@1"])
    shelf.give("key")
    assert (copy.there, shelf.names, first.loaded.closed) == (False, [], True)


def test_what_is_taken_while_it_is_unloaded_is_loaded_after_that():
    """Otherwise the copy that is removed would be the one just made."""
    shelf, copy = Shelf(), Copy()
    shelf.take(copy.wanted())
    copy.removed.clear()
    with ThreadPoolExecutor(2) as pool:
        given = pool.submit(shelf.give, "key")
        until(lambda: copy.there is None)
        taken = pool.submit(shelf.take, copy.wanted())
        with pytest.raises(TimeoutError):
            taken.result(0.05)
        assert copy.loads == 1
        copy.removed.set()
        given.result(10)
        assert taken.result(10).loaded.closed is False
    assert (copy.there, copy.loads) == (True, 2)


def test_whoever_waits_for_a_model_that_cannot_be_loaded_learns_why():
    shelf, copy, go = Shelf(), Copy(), threading.Event()

    def load():
        assert go.wait(10)
        raise ValueError("it is broken")

    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(shelf.take, Wanted("wine@1", "key", load, copy.discard)) for _ in range(2)]
        until(lambda: shelf._kept and shelf._kept["key"].users == 2)
        go.set()
        for one in waiting:
            with pytest.raises(ValueError, match="it is broken"):
                one.result(10)
    assert shelf.names == []
    assert shelf.take(copy.wanted()).version.version == 1


def test_after_a_removal_that_fails_it_can_be_taken_again():
    shelf, copy = Shelf(), Copy()

    def discard():
        raise OSError("the disk is gone")

    shelf.take(Wanted("wine@1", "key", copy.load, discard))
    with pytest.raises(OSError, match="the disk is gone"):
        shelf.give("key")
    shelf.take(copy.wanted())
    assert copy.loads == 2
