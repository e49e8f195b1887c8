"""The demo's traffic: months of flights as live requests, in the order in which they were asked."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from headrace.client import Client
from headrace.client.endpoint import answer
from headrace.errors import HeadraceError

CONNECTIONS = 4
_SHOWN_FAILURES = 5


@dataclass
class Traffic:
    """What came of the requests.

    Attributes:
        ids: Prediction id of every request, in order; empty where no answer came.
        elapsed_s: From arrival to reply, by the server's clock, of each answered request.
        won_by: Model version (or ``default``) to how many requests it answered.
        seconds: Wall time for all of them.
        failures: What went wrong, a few of them.
    """

    ids: list[str]
    elapsed_s: list[float] = field(default_factory=list)
    won_by: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)


def send(client: Client, endpoint: str, rows: Sequence[bytes], tell: Callable[[int], None]) -> Traffic:
    """Send each body as a request of its own over a few connections, in order.

    Args:
        client: Where the endpoint is served.
        endpoint: Its name.
        rows: One predict body each.
        tell: Called with the number answered so far, a few times a second.
    """
    traffic = Traffic(ids=[""] * len(rows))
    todo = _Todo(len(rows))
    started = time.perf_counter()
    ask = (client, endpoint, rows)
    senders = [threading.Thread(target=_sender, args=(ask, todo, traffic)) for _ in range(CONNECTIONS)]
    for sender in senders:
        sender.start()
    for sender in senders:
        while sender.is_alive():
            sender.join(0.25)
            tell(len(traffic.elapsed_s))
    traffic.seconds = time.perf_counter() - started
    return traffic


class _Todo:
    """Row numbers, handed out in order to whoever asks next."""

    def __init__(self, count: int) -> None:
        self._numbers, self._lock = iter(range(count)), threading.Lock()

    def __iter__(self) -> Iterator[int]:
        while True:
            with self._lock:
                number = next(self._numbers, None)
            if number is None:
                return
            yield number


def _sender(ask: tuple[Client, str, Sequence[bytes]], todo: _Todo, traffic: Traffic) -> None:
    client, endpoint, rows = ask
    won: Counter[str] = Counter()
    for number in todo:
        try:
            reply = answer(client.raw(endpoint, rows[number]))
        except HeadraceError as error:
            if len(traffic.failures) < _SHOWN_FAILURES:
                traffic.failures.append(str(error))
            continue
        traffic.ids[number] = reply.id
        traffic.elapsed_s.append(reply.elapsed_s)
        won[reply.winner] += 1
    traffic.won_by.update(won)


def summary(traffic: Traffic, deadline_s: float) -> dict[str, Any]:
    """The figures of the traffic, times by the server's clock.

    Args:
        traffic: What came of the requests.
        deadline_s: The endpoint's; a reply within 10 ms more counts as in time.
    """
    times = sorted(traffic.elapsed_s) or [0.0]
    return {
        "sent": len(traffic.ids),
        "answered": len(traffic.elapsed_s),
        "by_deadline": sum(1 for t in traffic.elapsed_s if t <= deadline_s + 0.010),
        "per_second": round(len(traffic.elapsed_s) / max(traffic.seconds, 1e-9)),
        "p50_ms": round(times[len(times) // 2] * 1000, 2),
        "p99_ms": round(times[int(len(times) * 0.99)] * 1000, 2),
        "won_by": dict(traffic.won_by.most_common()),
        "defaults": traffic.won_by.get("default", 0),
        "failures": traffic.failures,
    }
