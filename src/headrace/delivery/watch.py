"""One step of a canary under watch: whether a rule surely holds, and whether the share has lasted."""

from collections.abc import Callable
from dataclasses import dataclass

from headrace.client.overview import Asked
from headrace.client.overview import Canary as Told
from headrace.delivery.abort_rules import AbortRule, asked
from headrace.delivery.stretch import Numbers, Stretch
from headrace.serving.canary import MEASURED, Canary
from headrace.serving.deployment import Deployment
from headrace.serving.rules import rules

_WRONG = 0.01
"""How probable it is at most that a gateway ever ends a canary of which no rule holds: five of them come to one in
twenty."""

_LEAST = 20
"""Of fewer requests no rule is asked, however much they say: a hiccup may fail a few at once."""

_DOUBT = 3
"""A share about which there is doubt lasts so many times as long as it was to, and no longer."""


@dataclass
class Watch:
    """A step of a canary, with the rules that may end it.

    Attributes:
        deployment: The step.
        canary: That of ``deployment``.
        since: When it began, in monotonic seconds.
        candidate: Its numbers since then.
        champion: Those of what it would replace.
        busy: Whether the step's end is being written.
        waiting: Whether it was said that it lasts longer.
        again_at: When what could not be written is tried again.
    """

    deployment: Deployment
    canary: Canary
    since: float
    candidate: Stretch
    champion: Stretch
    busy: bool = False
    waiting: bool = False
    again_at: float = 0.0

    def __post_init__(self) -> None:
        found = rules(self.canary.abort_if, MEASURED)
        self._rules = [asked(rule, self.candidate, self.champion) for rule in found]
        self._wrong = _WRONG / max(1, len(found) * len(self.canary.steps))

    def broken(self) -> str:
        """The rules that surely hold by now, with their numbers."""
        for each in self._rules:
            each.look()
        found = self._said(lambda each, *_: self._holds(each))
        return f"{found}, of {self.candidate.met()} requests" if found else ""

    def over(self, now: float) -> bool:
        """Whether the step has lasted as long, and met as many requests, as it is to."""
        return now - self.since >= self.canary.every_s and self.candidate.met() >= self.canary.least

    def open(self, now: float) -> str:
        """The rules that cannot be asked yet, and for a while those that seem to hold, with the numbers there are."""
        doubtful = now - self.since < _DOUBT * self.canary.every_s

        def is_open(each: AbortRule, own: Numbers, champion: Numbers) -> bool:
            if not each.rule.known(own, champion):
                return True
            return doubtful and _seems(each, own, champion)

        return self._said(is_open)

    def told(self, now: float) -> Told:
        """How far it is, for people."""
        return Told(
            candidate=self.deployment.models[self.canary.candidate],
            step=self.canary.step + 1,
            shares=self.canary.steps,
            lasted_s=now - self.since,
            every_s=self.canary.every_s,
            met=self.candidate.met(),
            least=self.canary.least,
            rules=[self._asked(each) for each in self._rules],
        )

    def _asked(self, each: AbortRule) -> Asked:
        own, champion = self.candidate.numbers(), self.champion.numbers()
        state = "does not hold"
        if not each.rule.known(own, champion):
            state = "not known yet"
        elif self._holds(each):
            state = "holds"
        elif each.rule.holds(own, champion):
            state = "seems to hold" if _seems(each, own, champion) else "may be luck"
        return Asked(each.rule.said(own, champion), state)

    def _holds(self, each: AbortRule) -> bool:
        return self.candidate.met() >= min(self.canary.least, _LEAST) and each.sure(self._wrong)

    def _said(self, which: Callable[[AbortRule, Numbers, Numbers], bool]) -> str:
        own, champion = self.candidate.numbers(), self.champion.numbers()
        return "; ".join(each.rule.said(own, champion) for each in self._rules if which(each, own, champion))


def _seems(each: AbortRule, own: Numbers, champion: Numbers) -> bool:
    """Whether the numbers as they stand say so, and there is more evidence for it than against it."""
    return each.rule.holds(own, champion) and each.sure(1.0)
