"""Canaries under way in a gateway: the candidate measured beside what it would replace, taken further or ended."""

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from headrace.client.overview import Canary as Told
from headrace.delivery.canary import abort, further, refuse, wait
from headrace.delivery.stretch import Stretch
from headrace.delivery.watch import Watch
from headrace.errors import HeadraceError
from headrace.serving.dataplane import DataPlane
from headrace.serving.deployment import Deployment
from headrace.serving.rendezvous import Live
from headrace.serving.report import in_words, report
from headrace.storage.ledger import Ledger

EVERY_S = 0.2
"""How often a gateway looks."""

_AGAIN_S = 5.0

Refused = Callable[[str], tuple[Deployment, str] | None]
"""The newest deployment of an endpoint, if it is the step of a canary, or took over, and cannot be served; and why."""
Do = Callable[[Callable[[], None]], None]
"""Does something that may take a while, elsewhere than on the event loop."""


class Rollouts:
    """Looks after every canary of a gateway; all methods run on its event loop.

    Steps are timed by the monotonic clock, from when this gateway began to serve them: a clock that is stepped moves
    no canary, and a gateway that restarts gives the step its whole time again.

    Args:
        plane: What serves.
        ledger: Where deployments are.
        do: Writes to the ledger elsewhere than on the event loop.
        refused: What of the ledger is not served.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        plane: DataPlane,
        ledger: Ledger,
        do: Do,
        refused: Refused,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plane, self._ledger, self._do, self._refused, self._clock = plane, ledger, do, refused, clock
        self._watches: dict[str, Watch] = {}
        self._told: dict[str, tuple[int, float]] = {}
        self._wrong: dict[str, str] = {}

    def look(self) -> None:
        """End each canary of which a rule holds, at once, or that cannot be served; take further each that stood."""
        for name in self._plane.names:
            try:
                self._look_after(name)
            except Exception as error:  # noqa: BLE001 - whatever the ledger holds, what serves goes on
                self._say_once(name, in_words(error))

    def told(self, name: str) -> Told | None:
        """How far the canary of an endpoint is; None where there is none."""
        with suppress(Exception):  # what is wrong with it, ``look`` says; who asks at once need not wait for that
            self._follow(name, self._plane.live(name))
        watch = self._watches.get(name)
        return None if watch is None else watch.told(self._clock())

    def _look_after(self, name: str) -> None:
        self._end_refused(name)
        try:
            live = self._plane.live(name)
        except HeadraceError:  # not loaded now
            return
        self._follow(name, live)
        watch = self._watches.get(name)
        if watch is None or watch.busy or self._clock() < watch.again_at:
            return
        reason = watch.broken()
        if reason:
            # Before the ledger says so: what is wrong must not go on because a disk is full.
            live.draw_no_more()
            self._change(watch, partial(abort, self._ledger, watch.deployment, reason))
        elif watch.over(self._clock()):
            self._go_on(watch)

    def _go_on(self, watch: Watch) -> None:
        still_open = watch.open(self._clock())
        if not still_open:
            self._change(watch, partial(further, self._ledger, watch.deployment))
        elif not watch.waiting:
            watch.waiting = True
            self._do(partial(wait, self._ledger, watch.deployment, still_open))

    def _say_once(self, name: str, why: str) -> None:
        if self._wrong.get(name) != why:
            self._wrong[name] = why
            report(f"the canary of endpoint {name} cannot be followed: {why}")

    def _end_refused(self, name: str) -> None:
        """What is not loaded is not measured: a canary would last for ever, and an alias name what serves nowhere."""
        found = self._refused(name)
        if found is None:
            self._told.pop(name, None)
            return
        (deployment, why), now = found, self._clock()
        told, again_at = self._told.get(name, (0, 0.0))
        if told != deployment.seq or now >= again_at:
            self._told[name] = deployment.seq, now + _AGAIN_S
            reason = f"it cannot be served: {why}"

            def end() -> None:
                refuse(self._ledger, deployment, reason)

            self._do(end)

    def _follow(self, name: str, live: Live) -> None:
        deployment, known = live.deployment, self._watches.get(name)
        if known is not None and known.deployment.seq == deployment.seq:
            return
        if known is not None:
            del self._watches[name]
            known.candidate.end()
            known.champion.end()
        if deployment.canary is not None:
            counters, models = live.counters, deployment.models
            beside = models[deployment.endpoint.schedule[0].model]
            candidate = models[deployment.canary.candidate]
            self._watches[name] = Watch(
                deployment,
                deployment.canary,
                self._clock(),
                Stretch(counters.scorers[candidate], counters),
                Stretch(counters.scorers[beside], counters),
            )

    def _change(self, watch: Watch, how: Callable[[], Deployment]) -> None:
        watch.busy = True

        def change() -> None:
            try:
                how()
            except BaseException:
                watch.again_at, watch.busy = self._clock() + _AGAIN_S, False
                raise

        self._do(change)
