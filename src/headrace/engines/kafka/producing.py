"""A producer that is made when first used, and a thread that serves it and looks for brokers that were away."""

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaException, Producer

from headrace.engines.kafka.address import Address
from headrace.engines.kafka.faults import translated
from headrace.engines.kafka.topics import WITHIN_S

_POLL_S = 0.02
_ASK_S = 0.5


def _nothing(*_: Any) -> None:
    pass


class Outlet:
    """What is written through; safe to share between threads.

    Whoever misses an answer says so; from then on brokers are asked whether they are back, and ``away_s`` says for how
    long they were not.

    Args:
        address: The cluster.
        name: Of the thread.
        properties: What the producer is made with.
        look: Called on the thread in each of its turns while brokers are not away.
        back: Called on the thread when they are back.
    """

    def __init__(
        self,
        address: Address,
        name: str,
        properties: Mapping[str, Any],
        *,
        look: Callable[[Producer], None] = _nothing,
        back: Callable[[], None] = _nothing,
    ) -> None:
        self._address, self._name, self._properties = address, name, dict(properties)
        self._look, self._back = look, back
        self._lock = threading.Lock()
        self._producer: Producer | None = None
        self._away_since: float | None = None

    @property
    def away_s(self) -> float | None:
        """Since when no broker answers, in seconds; None while they do, as far as is known."""
        since = self._away_since
        return None if since is None else time.monotonic() - since

    def producer(self) -> Producer:
        """The one that runs, made now unless it does."""
        producer = self._producer
        if producer is not None:
            return producer
        with self._lock:
            if self._producer is None:
                with translated(self._address.brokers):
                    self._producer = Producer(self._properties)
                threading.Thread(target=self._serve, args=(self._producer,), name=self._name, daemon=True).start()
            return self._producer

    def missed(self, producer: Producer) -> None:
        """No broker answered this one in time."""
        if self._away_since is None and self._producer is producer:
            self._away_since = time.monotonic()

    def drop(self, producer: Producer) -> None:
        """This one can never write again; another one can, and finds out whether brokers are away."""
        with self._lock:
            if self._producer is producer:
                self._producer, self._away_since = None, None

    def close(self, within_s: float) -> None:
        """Send what is queued and end the thread."""
        with self._lock:
            producer, self._producer = self._producer, None
        if producer is not None:
            producer.flush(within_s)

    def _serve(self, producer: Producer) -> None:
        while self._producer is producer:
            try:
                producer.poll(_POLL_S)
            except KafkaException:  # the library raises here what is fatal to a producer
                self.drop(producer)
                break
            if self._away_since is None:
                self._look(producer)
                continue
            try:
                producer.list_topics(timeout=_ASK_S)
            except KafkaException:
                continue
            self._back()
            self._away_since = None
        with contextlib.suppress(KafkaException):
            producer.flush(WITHIN_S)  # whoever still waits for this producer is told
