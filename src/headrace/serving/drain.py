"""What serves no more and still works: it ends when its last request is answered and its last score is in."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from headrace.serving.rendezvous import Live

_LOOK_S = 0.005


@dataclass(eq=False)
class _Leaving:
    live: Live
    ended: Callable[[], None]
    closed: bool = False


class Drain:
    """Lets go of what was replaced or unloaded; all methods run on the event loop.

    Args:
        loop: The event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._leaving: list[_Leaving] = []
        self._looks = False

    @property
    def lives(self) -> Sequence[Live]:
        """What has not ended yet."""
        return [leaving.live for leaving in self._leaving]

    def add(self, live: Live, ended: Callable[[], None]) -> None:
        """Call ``ended`` once no thread of ours uses the models of ``live`` any more; at once if none does now."""
        self._leaving.append(_Leaving(live, ended))
        self._look()

    def _look(self) -> None:
        for leaving in list(self._leaving):
            if _has_ended(leaving):
                self._leaving.remove(leaving)
                leaving.ended()
        if self._leaving and not self._looks:
            self._looks = True
            self._loop.call_later(_LOOK_S, self._again)

    def _again(self) -> None:
        self._looks = False
        self._look()


def _has_ended(leaving: _Leaving) -> bool:
    if not leaving.closed and not leaving.live.busy:
        leaving.closed = True
        for scorer in leaving.live.queues:
            scorer.close()
    # A scorer whose model hangs gives its thread up after a while (Scorer.check), so this comes to an end.
    return leaving.closed and not any(scorer.busy for scorer in leaving.live.queues)
