"""Canaries of which every request is drawn here: how often an equal candidate is ended, how soon a worse one is.

``HEADRACE_SOAK=1`` has the full counts.
"""

import os
from functools import partial

import numpy as np
import pytest

from headrace.delivery.stretch import Stretch
from headrace.delivery.watch import Watch
from headrace.serving.canary import Canary
from headrace.serving.counters import FINE_S, EndpointCounters, ScorerCounters
from headrace.serving.outcome import CANCELLED, UNJOINED, Outcome

LIVES = 400 if os.environ.get("HEADRACE_SOAK") else 40
STEPS = (0.05, 0.25, 1.0)
LOOKS = 60
"""A step; twelve seconds."""
EVERY_S = 12.0
AT_ONCE = 20
"""Requests between two looks; 100 a second."""
RATE, TIME_S = 0.01, 0.002


class Life:
    """A canary of two models, from its first share on."""

    def __init__(self, rules, least=20):
        self.rules, self.least = rules, least
        self.counters = EndpointCounters()
        self.own, self.champion = ScorerCounters(), ScorerCounters()
        self.step(0)

    def step(self, number):
        canary = Canary("wine@2", STEPS, EVERY_S, self.rules, self.least, number)
        sides = (Stretch(each, self.counters) for each in (self.own, self.champion))
        self.watch = Watch(None, canary, 0.0, *sides)

    def meet(self, own, champion):
        """Requests that both got: whether each failed, and how long it took."""
        for counters, (failed, seconds) in ((self.own, own), (self.champion, champion)):
            counters.failed += int(failed.sum())
            counters.scored += int((~failed).sum())
            for at, count in zip(
                *np.unique(np.searchsorted(FINE_S, seconds[~failed]), return_counts=True), strict=True
            ):
                counters.fine.counts[at] += int(count)
        self.counters.requests += len(own[0])


def drawn(rng, *, rate=RATE, times=1.0):
    """Of some requests: whether they fail, and how long they take: lognormal, with a heavy tail."""
    seconds = TIME_S * times * np.exp(rng.normal(0, 0.5, AT_ONCE)) * np.where(rng.random(AT_ONCE) < 0.02, 8, 1)
    return rng.random(AT_ONCE) < rate, seconds


def reason(rng, rules, candidate, looks=LOOKS):
    """Why a canary was ended in the course of its life; nothing if it went through."""
    life = Life(rules)
    for number in range(len(STEPS)):
        life.step(number)
        for _ in range(looks):
            life.meet(candidate(rng), drawn(rng))
            if found := life.watch.broken():
                return found
    return ""


def requests_until_cut(rng, rules, candidate, good_before=0):
    life, met = Life(rules), 0
    for look in range(20_000):
        life.meet(drawn(rng, rate=0.001) if look < good_before else candidate(rng), drawn(rng))
        if life.watch.broken():
            assert look >= good_before
            return met + AT_ONCE
        met += AT_ONCE * (look >= good_before)
    raise AssertionError("never")


LIMITS = ("error_rate > 1%", "error_rate > 1x champion", "p50_ms > 1x champion", "p99_ms > 1x champion")
"""Nothing to spare: an equal candidate is at the limit of each."""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_an_equal_candidate_is_hardly_ever_ended_in_its_whole_life(figure):
    """180 looks, four rules, all at their limits; ``rendezvous.canary_false_aborts``."""
    rng = np.random.default_rng(5)
    found = [reason(rng, LIMITS, drawn) for _ in range(LIVES)]
    figure("rendezvous.canary_false_aborts", sum(map(bool, found)) / LIVES)
    assert sum(map(bool, found)) <= 0.05 * LIVES


def test_plain_numbers_would_end_most_of_them():
    """Why: without the mechanism, the test above fails."""
    rng = np.random.default_rng(5)
    ended = 0
    for _ in range(20):
        life = Life(LIMITS)
        for _ in range(LOOKS):
            life.meet(drawn(rng), drawn(rng))
            own, champion = life.watch.candidate.numbers(), life.watch.champion.numbers()
            if any(each.rule.holds(own, champion) for each in life.watch._rules):
                ended += 1
                break
    assert ended >= 18


CUT = [
    ("error_rate > 1%", "errors_2x", partial(drawn, rate=0.02), 8000),
    ("error_rate > 1%", "errors_10x", partial(drawn, rate=0.1), 300),
    ("error_rate > 1%", "errors_all", partial(drawn, rate=1.0), 20),
    ("error_rate > 1.2x champion", "errors_2x_champion", partial(drawn, rate=0.02), 40_000),
    ("error_rate > 1.2x champion", "errors_10x_champion", partial(drawn, rate=0.1), 600),
    ("p50_ms > 1.2x champion", "p50_2x", partial(drawn, times=2), 400),
    ("p99_ms > 1.2x champion", "p99_2x", partial(drawn, times=2), 40_000),
    ("p99_ms > 1.2x champion", "p99_10x", partial(drawn, times=10), 4000),
]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("rule", "name", "candidate", "most"), CUT, ids=[name for _, name, _, _ in CUT])
def test_a_worse_candidate_is_cut_soon(rule, name, candidate, most, figure):
    rng = np.random.default_rng(7)
    until = [requests_until_cut(rng, (rule,), candidate) for _ in range(max(10, LIVES // 10))]
    figure(f"rendezvous.canary_cut_{name}", float(np.median(until)))
    assert max(until) <= most


def test_one_that_goes_bad_late_is_cut_soon_too(figure):
    """After 60,000 good requests: what it did long ago does not speak for what it does now."""
    rng = np.random.default_rng(9)
    until = requests_until_cut(rng, ("error_rate > 1%",), partial(drawn, rate=0.1), good_before=3000)
    figure("rendezvous.canary_cut_late_10x", until)
    assert until <= 600


@pytest.mark.parametrize("rule", ["p50_ms > 1.2x champion", "p99_ms > 1.2x champion"])
def test_what_makes_both_slow_is_not_the_candidates(rule):
    """A machine that is busy now and then: what is compared must be of the same time."""
    rng = np.random.default_rng(13)
    life = Life((rule,))
    for _ in range(20):
        times = 4 if rng.random() < 0.3 else 1
        for _ in range(int(rng.integers(5, 60))):
            life.meet(drawn(rng, times=times), drawn(rng, times=times))
            assert life.watch.broken() == ""


@pytest.mark.parametrize(
    ("rule", "times", "most"), [("p50_ms > 1.2x champion", 2, 6000), ("p99_ms > 1.2x champion", 10, 6000)]
)
def test_one_that_becomes_slow_late_is_cut_too(rule, times, most):
    rng = np.random.default_rng(9)
    until = requests_until_cut(rng, (rule,), partial(drawn, times=times), good_before=1000)
    assert until <= most


def test_one_error_of_few_requests_is_no_reason():
    life = Life(("error_rate > 1%",))
    failed = np.zeros(AT_ONCE, bool)
    failed[0] = True
    life.meet((failed, np.full(AT_ONCE, TIME_S)), drawn(np.random.default_rng(1)))
    assert life.watch.broken() == ""


def test_all_failing_is_a_reason_at_once_however_many_are_asked_for():
    life = Life(("error_rate > 1%",), least=10_000)
    rng = np.random.default_rng(1)
    life.meet(drawn(rng, rate=1.0), drawn(rng))
    assert life.watch.broken() == "error_rate > 1%: 100%, of 20 requests"


def test_a_share_about_which_there_is_doubt_lasts_longer_but_not_for_ever():
    life = Life(("error_rate > 1%",))
    failed = np.zeros(AT_ONCE, bool)
    failed[:2] = True
    life.meet((failed, np.full(AT_ONCE, TIME_S)), drawn(np.random.default_rng(1)))
    assert (life.watch.broken(), life.watch.over(EVERY_S)) == ("", True)
    assert life.watch.open(EVERY_S) == "error_rate > 1%: 10%"
    assert life.watch.open(3 * EVERY_S) == ""


def test_a_failure_that_both_have_is_not_the_candidates():
    rng = np.random.default_rng(3)
    life = Life(("error_rate > 1x champion",))
    for _ in range(200):
        both = drawn(rng, rate=0.3)
        life.meet(both, both)
        assert life.watch.broken() == ""


@pytest.mark.parametrize(
    ("rule", "candidate"),
    [
        ("error_rate >= 0", partial(drawn, rate=0.5)),
        ("error_rate < 0.5x champion", partial(drawn, rate=0.0)),
        ("error_rate < 50%", drawn),
        ("p50_ms < 0.8x champion", partial(drawn, times=0.5)),
        ("p50_ms < 1", partial(drawn, times=0.2)),
        ("p50_ms > 1", drawn),
    ],
)
def test_every_form_of_a_rule_is_weighed(rule, candidate):
    assert requests_until_cut(np.random.default_rng(2), (rule,), candidate) <= 6000


@pytest.mark.parametrize("rule", ["error_rate > 100%", "error_rate < 0", "p50_ms > 100", "p99_ms < 0.0001"])
def test_what_never_holds_ends_nothing(rule):
    assert reason(np.random.default_rng(2), (rule,), partial(drawn, rate=0.5), looks=20) == ""


@pytest.mark.parametrize("blameless", [UNJOINED, CANCELLED])
def test_what_a_candidate_never_met_is_no_error_of_it(blameless):
    """Who ends a canary would blame a model for a store, or for callers who went."""
    own = ScorerCounters()
    stretch = Stretch(own, EndpointCounters())
    for error in (blameless, blameless, "", "", "", "ValueError: no"):
        own.took(Outcome({}, 0.0, error), 0.001)
    assert (stretch.counts("error_rate"), stretch.met()) == ((1, 4), 4)
    assert stretch.numbers()["error_rate"] == 0.25


def test_nor_are_the_defaults_that_answered_for_want_of_features():
    counters = EndpointCounters(limit_s=1.0)
    counters.unjoined, counters.requests, counters.defaults = 2, 5, 3
    stretch = Stretch(ScorerCounters(), counters)
    for winner, unjoined in (("default", 1), ("default", 1), ("default", 0), ("wine@3", 0)):
        counters.unjoined += unjoined
        counters.answered(winner, 0.001, rows=1)
    assert stretch.counts("default_rate") == (1, 2)
