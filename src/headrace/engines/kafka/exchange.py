"""An exchange on Kafka: questions in a topic that every group reads, answers in one with a partition a front door.

Nothing is kept for long and nothing waits for replicas: what is lost is answered without, by the deadline. What must
not be lost is in the request log.
"""

import contextlib
import itertools
import threading
import time
import uuid
from collections.abc import Callable, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from headrace.engines.kafka.address import Address
from headrace.engines.kafka.faults import silent, translated
from headrace.engines.kafka.group import KafkaGroup
from headrace.engines.kafka.producing import Outlet
from headrace.engines.kafka.topics import WITHIN_S, Topics
from headrace.settings import Settings

QUESTIONS = 8
"""Partitions of the questions: so many workers of a version share them."""

ANSWERS = 64
"""Partitions of the answers: the first is for announcements, front doors draw theirs from the rest."""

KEPT_MS = 600_000
_PATIENCE_S = 0.25
_GONE_MS = 2000
_MOST = 500


def open_exchange(settings: Settings, uri: str) -> "KafkaExchange":  # noqa: ARG001 - every factory takes both
    """The exchange of the project on the cluster that ``uri`` names; connects when first used."""
    return KafkaExchange(Address.parse(uri))


class KafkaExchange:
    """Exchange port on Kafka; see there.

    Two front doors may draw the same partition. Answers say in their key for which of them they are.

    Args:
        address: The cluster.
    """

    def __init__(self, address: Address) -> None:
        self._address, self._topics = address, Topics(address)
        self._sender = Sender(address)
        self._listeners: list[_Listener] = []
        drawn = uuid.uuid4().int
        self._own = 1 + drawn % (ANSWERS - 1) + ANSWERS * (drawn >> 96)
        self._names: dict[tuple[str, str], str] = {}

    @property
    def trouble(self) -> str:
        """Why nothing can be asked now."""
        return self._sender.trouble

    def ask(self, endpoint: str, message: bytes) -> None:
        """Send a question; its partition is drawn."""
        self._sender.send(self._named("asked", endpoint), message)

    def tell(self, endpoint: str, message: bytes, address: int | None = None) -> None:
        """Send to one front door, or to all."""
        if address is None:
            self._make(endpoint)  # a broker might make a topic that it does not know, with one partition
        partition, key = (0, None) if address is None else (address % ANSWERS, _key(address))
        self._sender.send(self._named("scored", endpoint), message, partition, key)

    def listen(self, endpoint: str, take: Callable[[Sequence[bytes]], None]) -> int:
        """Have ``take`` called with what comes from now on."""
        self._make(endpoint)
        name = self._named("scored", endpoint)
        self._listeners.append(_Listener(self._address, name, self._own, take))
        self._sender.start()
        return self._own

    def join(self, endpoint: str, group: str) -> KafkaGroup:
        """Become a member of a group."""
        self._make(endpoint)
        asked, aside = self._named("asked", endpoint), self._named("set-aside", endpoint)
        own = f"{self._topics.named(f'scorers.{endpoint}')}.{group}"
        return KafkaGroup(self._address, asked, own, lambda value, why: self._sender.keep(aside, value, why))

    def close(self) -> None:
        """Send what waits to be sent, and listen no more."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        self._sender.close()

    def _named(self, what: str, endpoint: str) -> str:
        found = self._names.get((what, endpoint))
        if found is None:
            found = self._names[what, endpoint] = self._topics.named(f"{what}.{endpoint}")
        return found

    def _make(self, endpoint: str) -> None:
        self._topics.make(self._named("asked", endpoint), partitions=QUESTIONS, keep_ms=KEPT_MS)
        self._topics.make(self._named("scored", endpoint), partitions=ANSWERS, keep_ms=KEPT_MS)
        self._topics.make(self._named("set-aside", endpoint))


class Sender:
    """A producer that never makes anybody wait, and knows when no broker takes what it sends.

    Args:
        address: The cluster.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._sent: dict[int, float] = {}
        self._tokens = itertools.count()
        properties = address.properties(acks=1, linger_ms=0, message_timeout_ms=_GONE_MS)
        self._outlet = Outlet(address, "kafka sender", properties, look=self._look, back=self._sent.clear)

    @property
    def trouble(self) -> str:
        """Why nothing can be sent now; empty when it can."""
        return "" if self._outlet.away_s is None else f"{self._address.brokers} takes no messages"

    def start(self) -> None:
        """Connect, in the background."""
        self._outlet.producer()

    def send(self, name: str, value: bytes, partition: int = -1, key: bytes | None = None) -> None:
        """Queue a message; raise ``Unavailable`` when it would not be taken."""
        if trouble := self.trouble:
            raise silent(f"{self._address.brokers} {name}", trouble)
        producer, token = self._outlet.producer(), next(self._tokens)
        self._sent[token] = time.monotonic()
        try:
            with translated(self._address.brokers):
                producer.produce(name, value, key=key, partition=partition, on_delivery=_Told(self._sent, token))
        except BufferError as error:
            del self._sent[token]
            raise silent(f"{self._address.brokers} {name}", "more waits to be sent than the memory holds") from error

    def keep(self, name: str, value: bytes, why: str) -> None:
        """Write a message with the reason in its headers, and wait until it is written."""
        producer = self._outlet.producer()
        with translated(self._address.brokers):
            producer.produce(name, value, headers=[("why", why.encode())])
            producer.flush(WITHIN_S)

    def close(self) -> None:
        """Send what is queued, for a moment."""
        self._outlet.close(1.0)

    def _look(self, producer: Producer) -> None:
        """See whether the oldest message that was sent is still not taken."""
        if self._sent and time.monotonic() - next(iter(list(self._sent.values())), time.monotonic()) > _PATIENCE_S:
            self._outlet.missed(producer)
            with contextlib.suppress(KafkaException):
                producer.purge()  # what is late already need not be sent


class _Told:
    """Called once the fate of a message is known."""

    __slots__ = ("_sent", "_token")

    def __init__(self, sent: dict[int, float], token: int) -> None:
        self._sent, self._token = sent, token

    def __call__(self, error: KafkaError | None, message: Message) -> None:  # noqa: ARG002 - the library's
        if error is None:  # a failure is not: that it was not taken is how one sees that brokers are away
            self._sent.pop(self._token, None)


class _Listener:
    """Reads announcements, and answers to one address, from now on, on a thread of its own."""

    def __init__(self, address: Address, name: str, own: int, take: Callable[[Sequence[bytes]], None]) -> None:
        self._take, self._keys, self._closed = take, (None, _key(own)), False
        with translated(f"{address.brokers} {name}"):
            self._consumer = Consumer(
                address.properties(
                    group_id=f"{address.prefix}-front-doors",  # it joins none, and commits nothing
                    enable_auto_commit=False,
                    auto_offset_reset="latest",
                    fetch_wait_max_ms=500,
                )
            )
            places = [TopicPartition(name, partition) for partition in (0, own % ANSWERS)]
            for place in places:
                place.offset = max(self._consumer.get_watermark_offsets(place, timeout=WITHIN_S)[1], 0)
            self._consumer.assign(places)
        self._thread = threading.Thread(target=self._run, name=f"kafka {name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Read no more."""
        self._closed = True
        self._thread.join(WITHIN_S)

    def _run(self) -> None:
        while not self._closed:
            first = self._consumer.poll(0.2)
            if first is None:
                continue
            found = [first, *self._consumer.consume(_MOST, 0)]
            values = [
                value
                for message in found
                if message.error() is None and message.key() in self._keys and (value := message.value())
            ]
            if values:
                self._take(values)
        self._consumer.close()


def _key(address: int) -> bytes:
    return str(address).encode()
