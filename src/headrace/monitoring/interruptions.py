"""Alerts about request logs that cannot be written: requests are answered from the models, and not logged.

One alert when it begins and one when it is over. A disk that is all but full takes some records and refuses others:
that is one interruption, over once nothing was refused for a while. The ledger may lie on the same disk: an alert that
cannot be kept now is kept when it can.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from headrace.errors import HeadraceError
from headrace.monitoring.alerts import KIND, raise_once
from headrace.refs import new_id
from headrace.serving.log_writer import LogWriter
from headrace.storage.ledger import Fact, Ledger

_AGAIN_S = 1.0

Do = Callable[[Callable[[], None]], None]
"""Does something that may take a while, elsewhere than on the event loop."""


@dataclass
class _Interruption:
    """Records of one log are being lost.

    Attributes:
        before: How many were lost before it.
        since: When it began, in monotonic seconds.
        well_since: When a record was last refused.
        mark: Unlike that of any other.
        began: Its begin by the wall clock.
    """

    before: int
    since: float
    well_since: float
    mark: str = field(default_factory=new_id)
    began: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


class Interruptions:
    """Looks after the logs of a gateway; all methods run on its event loop.

    Args:
        ledger: Where alerts are kept.
        do: Writes to it elsewhere than on the event loop.
        steady_s: A log is well again when no record was refused for so long.
        clock: Monotonic seconds.
    """

    def __init__(
        self, ledger: Ledger, do: Do, *, steady_s: float = 2.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ledger, self._do, self._steady_s, self._clock = ledger, do, steady_s, clock
        self._open: dict[str, _Interruption] = {}
        self._lost: dict[str, int] = {}
        self._untold: list[Fact] = []
        self._telling, self._again_at = False, 0.0

    def look(self, logs: Mapping[str, LogWriter]) -> None:
        """See how the logs are, by endpoint, and have alerts kept."""
        now = self._clock()
        for endpoint, log in logs.items():
            self._see(endpoint, log, now)
        if self._untold and not self._telling and now >= self._again_at:
            self._telling = True
            told = tuple(self._untold)
            self._do(lambda: self._tell(told))

    def _see(self, endpoint: str, log: LogWriter, now: float) -> None:
        failed, before = log.failed, self._lost.get(endpoint, 0)
        self._lost[endpoint] = failed
        found = self._open.get(endpoint)
        if log.trouble or failed > before:
            if found is None:
                found = self._open[endpoint] = _Interruption(before, now, now)
                message = f"requests are answered without being logged: {log.reason}"
                self._untold.append(_alert(endpoint, found, message))
            found.well_since = now
        elif found is not None and now - found.well_since >= self._steady_s:
            del self._open[endpoint]
            lasted, lost = found.well_since - found.since, failed - found.before
            message = f"requests are logged again after {lasted:.0f} s; {lost} were answered and not logged"
            self._untold.append(_alert(endpoint, found, message, over=True))

    def _tell(self, found: Sequence[Fact]) -> None:
        """On another thread, which alone takes away what is told."""
        try:
            raise_once(self._ledger, found)
        except HeadraceError:  # a full disk is the ledger's too
            self._again_at = self._clock() + _AGAIN_S
        else:
            del self._untold[: len(found)]
        self._telling = False


def _alert(endpoint: str, found: _Interruption, message: str, *, over: bool = False) -> Fact:
    body = {"about": "log", "window": found.began, "over": over, "message": message}
    return Fact(KIND, endpoint, body, unique=f"log {endpoint} {found.mark}{' over' * over}")
