"""A member of a consumer group that knows what an earlier member may have died of.

Kafka gives a message again whose reader died, and does not say how often. What lies between the committed offset and
the end when a partition is taken over was not finished: it is given one by one, and before each its number of tries is
committed beside the offset.
"""

import contextlib
import time
from collections.abc import Callable, Sequence

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from headrace.engines.kafka.address import Address
from headrace.engines.kafka.faults import translated
from headrace.engines.kafka.topics import WITHIN_S
from headrace.serving.exchange import Delivery

_WINDOW = 1000
_COMMIT_S = 0.2
_SESSION_MS = 6000


class _Part:
    """What is known of a partition that was taken over.

    Attributes:
        start: Everything before it is finished, and committed.
        end: What lies before it may have been taken by a member that died.
        tries: How often the message at ``start`` was.
        taken: Offsets that are under way.
        next: One after the last that was taken.
        kept: Whether the group has ``start`` committed.
    """

    def __init__(self, start: int, end: int, tries: int, *, kept: bool) -> None:
        self.start, self.end, self.tries, self.next, self.kept = start, end, tries, start, kept
        self.taken: set[int] = set()

    @property
    def finished(self) -> int:
        """Everything before it is."""
        return min(self.taken, default=self.next)


class KafkaGroup:
    """Group port on Kafka; see there.

    Args:
        address: The cluster.
        topic: What is read.
        name: Of the group.
        keep: Keeps a message that is set aside, with the reason.
    """

    def __init__(self, address: Address, topic: str, name: str, keep: Callable[[bytes, str], None]) -> None:
        self._topic, self._keep = topic, keep
        self._where = f"{address.brokers} {topic}"
        self._parts: dict[int, _Part] = {}
        self._joined = False
        self._committed_at = time.monotonic()
        with translated(self._where):
            self._consumer = Consumer(
                address.properties(
                    group_id=name,
                    enable_auto_commit=False,
                    auto_offset_reset="latest",
                    session_timeout_ms=_SESSION_MS,
                    heartbeat_interval_ms=_SESSION_MS // 6,
                    fetch_wait_max_ms=500,
                )
            )
            self._consumer.subscribe([topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)

    @property
    def joined(self) -> bool:
        """Whether the group reads, and this member is one of it."""
        return self._joined

    def take(self, within_s: float, most: int) -> Sequence[Delivery]:
        """At most so many questions."""
        found: list[Delivery] = []
        with translated(self._where):
            message = self._consumer.poll(within_s)
            while message is not None:
                delivery = self._delivery(message)
                if delivery is not None:
                    found.append(delivery)
                    if delivery.alone or len(found) >= most:
                        break
                message = self._consumer.poll(0)
        if time.monotonic() - self._committed_at > _COMMIT_S:
            self._commit(wait=False)
        return found

    def done(self, deliveries: Sequence[Delivery]) -> None:
        """They are finished."""
        for delivery in deliveries:
            number, offset = delivery.place
            if number in self._parts:
                self._parts[number].taken.discard(offset)

    def set_aside(self, delivery: Delivery, why: str) -> None:
        """Keep a question for people to look at."""
        self._keep(delivery.value, why)
        self.done([delivery])
        self._commit(wait=True)

    def close(self) -> None:
        """Leave; what is finished is committed first."""
        self._commit(wait=True)
        self._consumer.close()

    def _delivery(self, message: Message) -> Delivery | None:
        number, offset = message.partition(), message.offset()
        if message.error() is not None or number is None or offset is None or number not in self._parts:
            return None
        part = self._parts[number]
        part.taken.add(offset)
        part.next = offset + 1
        alone, tries = offset < part.end, part.tries if offset == part.start else 0
        if alone:
            part.start, part.tries = part.finished, 0
            self._mark(number, offset, tries + 1)
        return Delivery(message.value() or b"", tries, alone, (number, offset))

    def _mark(self, number: int, offset: int, tries: int) -> None:
        """Remember that a message is tried, before it is: whoever takes over counts on."""
        place = TopicPartition(self._topic, number, offset, str(tries))
        self._consumer.commit(offsets=[place], asynchronous=False)

    def _commit(self, *, wait: bool) -> None:
        self._committed_at = time.monotonic()
        places = []
        for number, part in self._parts.items():
            if part.finished > part.start or not part.kept:
                part.start, part.tries, part.kept = part.finished, 0, True
                places.append(TopicPartition(self._topic, number, part.start))
        if not places:
            return
        with contextlib.suppress(KafkaException):  # the group is given them again; who asked takes an answer once
            if wait:
                self._consumer.commit(offsets=places, asynchronous=False)
            else:
                self._consumer.commit(offsets=places, asynchronous=True)

    def _assigned(self, consumer: Consumer, places: Sequence[TopicPartition]) -> None:
        for place in consumer.committed(list(places), timeout=WITHIN_S):
            alone = TopicPartition(place.topic, place.partition)
            end = max(consumer.get_watermark_offsets(alone, timeout=WITHIN_S)[1], 0)
            if place.offset < 0:  # a new group begins now
                part = _Part(end, end, 0, kept=False)
            else:
                said = place.metadata or ""
                tries = int(said) if said.isdecimal() else 0
                part = _Part(place.offset, min(end, place.offset + _WINDOW), tries, kept=True)
            self._parts[place.partition] = part
        consumer.assign([TopicPartition(self._topic, number, part.start) for number, part in self._parts.items()])
        # A member that takes over before the first commit would begin where it finds the end. Nobody waits for it here:
        # while another member joins a broker may refuse it, or keep it until this one has joined again.
        self._commit(wait=False)
        self._joined = True

    def _revoked(self, consumer: Consumer, places: Sequence[TopicPartition]) -> None:  # noqa: ARG002 - the library's
        self._commit(wait=True)
        self._parts.clear()

    def _lost(self, consumer: Consumer, places: Sequence[TopicPartition]) -> None:  # noqa: ARG002 - the library's
        self._parts.clear()
