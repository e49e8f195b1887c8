"""Whether a gateway looks for the next request for a moment, and gives up where that is in vain."""

import pytest

from headrace.gateway.busy_poll import LONGEST_REST, WINDOW_S, BusyPoll


class Loop:
    """An event loop that turns when told to, and would sleep when nothing is to be called."""

    def __init__(self):
        self.now, self.due = 0.0, []

    def call_soon(self, call):
        self.due.append(call)

    def turn(self, after_s=0.0):
        self.now += after_s
        due, self.due = self.due, []
        for call in due:
            call()

    @property
    def would_sleep(self):
        return not self.due


@pytest.fixture
def loop():
    return Loop()


@pytest.fixture
def busy_poll(loop):
    return BusyPoll(loop, clock=lambda: loop.now)


def test_looks_for_a_moment_after_a_reply_and_then_sleeps(loop, busy_poll):
    busy_poll.replied()
    loop.turn(WINDOW_S / 2)
    assert not loop.would_sleep
    loop.turn(WINDOW_S)
    assert loop.would_sleep


def test_goes_on_while_each_request_comes_at_once(loop, busy_poll):
    busy_poll.replied()
    for _ in range(1000):
        for _ in range(3):
            loop.turn(0.3 * WINDOW_S)
            assert not loop.would_sleep
        busy_poll.replied()


def looks_in_vain(loop, busy_poll, replies):
    """How often a loop looked of so many replies that no request came soon after."""
    looked = 0
    for _ in range(replies):
        busy_poll.replied()
        looked += not loop.would_sleep
        loop.turn(2 * WINDOW_S)
        assert loop.would_sleep
    return looked


def test_rests_longer_each_time_it_is_in_vain(loop, busy_poll):
    assert looks_in_vain(loop, busy_poll, 10_000) * WINDOW_S < 10_000 * 0.3e-6


def test_starts_again_when_requests_come_at_once_again(loop, busy_poll):
    looks_in_vain(loop, busy_poll, 10_000)
    for _ in range(LONGEST_REST + 1):
        busy_poll.replied()
    assert not loop.would_sleep


@pytest.mark.parametrize("at_once", [1, 2, 8])
def test_does_not_look_where_the_loop_never_sleeps(loop, busy_poll, at_once):
    looked = 0
    for _ in range(10_000):
        for _ in range(at_once):
            busy_poll.replied()
        looked += not loop.would_sleep
        loop.turn()
    assert looked < 100


def test_every_reply_of_a_gateway_is_told(get, monkeypatch):
    told = []
    monkeypatch.setattr(BusyPoll, "replied", lambda _: told.append(1))
    for _ in range(3):
        assert get("/v2/health/ready")[0] == 200
    assert len(told) == 3
