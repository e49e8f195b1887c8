"""How busy endpoints were in the last minute: counters, looked at once a second."""

from collections import deque
from collections.abc import Mapping

from headrace.serving.counters import EndpointCounters

SPAN_S = 60.0
_EVERY_S = 1.0


class Recent:
    """Rates over the last minute, or since the first look while that is less long ago."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, Mapping[str, int]]] = deque()

    def look(self, now: float, counters: Mapping[str, EndpointCounters]) -> None:
        """Remember how much was answered; what comes within a second of the last look is not looked at.

        Args:
            now: Monotonic seconds.
            counters: By endpoint.
        """
        if self._looks and now - self._looks[-1][0] < _EVERY_S:
            return
        self._looks.append((now, {name: one.requests for name, one in counters.items()}))
        while now - self._looks[0][0] > SPAN_S:
            self._looks.popleft()

    def per_second(self, name: str, now: float, count: int) -> float:
        """How many requests a second an endpoint answered that has answered ``count`` by now."""
        then, counts = next(((at, c) for at, c in self._looks if now - at <= SPAN_S), (now, {}))
        return (count - counts.get(name, 0)) / (now - then) if now > then else 0.0
