"""The queue of a scorer: counted in rows, in batches that fit, and never longer than a request can wait."""

import threading
import time

import numpy as np
import pytest
from served import ROW, WINE
from tensor_served import PIXELS, echo

from headrace.models.signature import Signature, Tensor
from headrace.serving.endpoint import Batching
from headrace.serving.lane import Lane, Terms, shape_of
from headrace.serving.request import TableDecoder
from headrace.serving.tensors import TensorDecoder

SOON_S = 5.0


def until(condition):
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < SOON_S
        time.sleep(0.001)


class Ticket:
    def __init__(self, rows=1, given=None):
        self.input = given or TableDecoder(WINE).of_records([ROW] * rows)
        self.started = time.monotonic()


class Watched:
    """A lane whose first batch blocks until ``go`` is set; remembers the rows of each batch, and what expired."""

    def __init__(self, terms, signature=WINE, *, held=True):
        self.go, self.holds = threading.Event(), threading.Event()
        self.batches, self.expired = [], []
        self._came = threading.Condition()
        self.lane = Lane("test", terms, shape=shape_of(signature), work=self._work, drop=self._drop)
        if not held:
            self.go.set()

    def _work(self, jobs):
        with self._came:
            self.batches.append([ticket for ticket, _ in jobs])
            self._came.notify_all()
        self.holds.set()
        self.go.wait(20)

    def _drop(self, jobs):
        with self._came:
            self.expired += [ticket for ticket, _ in jobs]
            self._came.notify_all()

    def hold(self):
        """Occupy the thread, so that what is put from now on waits."""
        self.lane.put(Ticket(), 0)
        assert self.holds.wait(SOON_S)

    def rows(self, count):
        """Rows of each batch, once there are so many batches; the one that held the thread is left out."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.batches) >= count + 1, SOON_S)
        return [sum(t.input.count for t in batch) for batch in self.batches[1:]]


@pytest.fixture
def watch():
    opened = []

    def make(terms, signature=WINE, **how):
        opened.append(Watched(terms, signature, **how))
        return opened[-1]

    yield make
    for watched in opened:
        watched.go.set()
        watched.lane.close()


def test_room_is_counted_in_rows_and_a_large_request_has_it_when_none_wait(watch):
    watched = watch(Terms(Batching(max_batch_rows=4, max_queue_rows=10)))
    watched.hold()
    taken = [watched.lane.put(Ticket(rows), 0) for rows in (30, 1)]
    assert taken == [True, False]
    watched.go.set()
    assert watched.rows(1) == [30]
    watched = watch(Terms(Batching(max_batch_rows=4, max_queue_rows=10)))
    watched.hold()
    assert [watched.lane.put(Ticket(rows), 0) for rows in (4, 4, 4, 2, 1)] == [True, True, False, True, False]
    assert (watched.lane.rows, watched.lane.requests) == (10, 3)


def test_batches_are_filled_with_rows_and_a_larger_request_goes_alone(watch):
    watched = watch(Terms(Batching(max_batch_rows=4)))
    watched.hold()
    for rows in (1, 2, 2, 9, 3, 1, 1):
        assert watched.lane.put(Ticket(rows), 0)
    watched.go.set()
    assert watched.rows(5) == [3, 2, 9, 4, 1]


def test_only_equal_shapes_share_a_batch_and_the_others_keep_their_turn(watch):
    signature = echo("float32", (-1, -1))
    decoder = TensorDecoder(signature)
    watched = watch(Terms(), signature)
    first = Ticket(given=decoder.of_arrays({"x": np.zeros((1, 1), np.float32)}))
    watched.lane.put(first, 0)
    assert watched.holds.wait(SOON_S)
    for width in (2, 3, 2, 3, 4):
        watched.lane.put(Ticket(given=decoder.of_arrays({"x": np.zeros((1, width), np.float32)})), 0)
    watched.go.set()
    assert watched.rows(3) == [2, 2, 1]
    assert [{t.input.batch["x"].shape[1] for t in batch} for batch in watched.batches[1:]] == [{2}, {3}, {4}]


@pytest.mark.parametrize(
    "lone",
    [
        Signature("tensor", (Tensor("x", "float32", (1, 2)),), (Tensor("y", "float32", (-1,)),)),
        Signature("tensor", (Tensor("x", "float32", (-1,)),), (Tensor("y", "float32", ()),)),
    ],
)
def test_a_model_without_a_batch_takes_one_request_at_a_time(watch, lone):
    assert shape_of(PIXELS) is not None
    watched = watch(Terms(), lone)
    watched.hold()
    for _ in range(3):
        watched.lane.put(Ticket(), 0)
    watched.go.set()
    assert watched.rows(3) == [1, 1, 1]


def test_a_batch_gathers_until_it_is_full(watch):
    watched = watch(Terms(Batching(max_batch_rows=4, max_wait_s=60)), held=False)
    for rows in (1, 1, 2):
        watched.lane.put(Ticket(rows), 0)
    with watched._came:
        assert watched._came.wait_for(lambda: watched.batches, SOON_S)
    assert [len(batch) for batch in watched.batches] == [3]


def test_a_batch_gathers_for_its_time_from_the_first_arrival(watch):
    watched = watch(Terms(Batching(max_wait_s=0.2)), held=False)
    ticket = Ticket()
    watched.lane.put(ticket, 0)
    with watched._came:
        assert watched._came.wait_for(lambda: watched.batches, SOON_S)
    assert time.monotonic() - ticket.started >= 0.2


def test_gathering_leaves_the_model_the_time_that_it_usually_takes(watch):
    watched = watch(Terms(Batching(max_wait_s=60), wait_s=30.0))
    watched.lane.usual_s = 30.0
    watched.lane.put(Ticket(), 0)
    assert watched.holds.wait(SOON_S)


def test_what_usually_is_taken_is_learnt_from_the_calls(watch):
    watched = watch(Terms())
    watched.hold()
    begun = watched.lane.busy_since
    assert watched.lane.usual_s == 0
    watched.lane.put(Ticket(), 0)
    watched.go.set()
    watched.rows(1)
    assert 0 < watched.lane.usual_s <= time.monotonic() - begun


def test_what_expired_is_told_and_its_rows_are_free(watch):
    watched = watch(Terms(Batching(max_batch_rows=2, max_queue_rows=2), expire_s=10.0))
    watched.hold()
    stale = Ticket(2)
    stale.started -= 11
    watched.lane.put(stale, 0)
    watched.go.set()
    with watched._came:
        assert watched._came.wait_for(lambda: watched.expired == [stale], SOON_S)
    assert watched.lane.rows == 0
    assert watched.lane.put(Ticket(2), 0)


def test_a_cancelled_request_frees_its_place_at_once(watch):
    watched = watch(Terms(Batching(max_batch_rows=2, max_queue_rows=2)))
    watched.hold()
    first, second = Ticket(2), Ticket(2)
    assert watched.lane.put(first, 0)
    assert not watched.lane.put(second, 0)
    assert watched.lane.cancel(first)
    assert not watched.lane.cancel(first)
    assert watched.lane.put(second, 0)
    watched.go.set()
    watched.rows(1)
    assert [batch[0] for batch in watched.batches[1:]] == [second]
    assert not watched.lane.cancel(watched.batches[0][0])


def test_a_lane_goes_on_when_what_it_gathered_was_cancelled(watch):
    watched = watch(Terms(Batching(max_batch_rows=2, max_wait_s=0.05)), held=False)
    gone = Ticket()
    watched.lane.put(gone, 0)
    until(lambda: watched.lane._wakes_at == 2)
    watched.lane.cancel(gone)
    until(lambda: watched.lane._wakes_at == 1)
    watched.lane.put(Ticket(2), 0)
    with watched._came:
        assert watched._came.wait_for(lambda: watched.batches, SOON_S)
    assert gone not in watched.batches[0]


def test_closing_scores_what_waits_and_ends(watch):
    watched = watch(Terms(Batching(max_batch_rows=1, max_wait_s=60)))
    watched.hold()
    for _ in range(3):
        watched.lane.put(Ticket(), 0)
    watched.lane.close()
    watched.go.set()
    assert watched.rows(3) == [1, 1, 1]
    watched.lane._thread.join(SOON_S)
    assert not watched.lane.alive
