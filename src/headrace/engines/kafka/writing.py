"""Writing: a message counts once every replica in sync has it, and a silent broker costs a bounded time, once."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec
from confluent_kafka import KafkaError, Message, Producer

from headrace.engines.kafka.address import Address
from headrace.engines.kafka.faults import fault, silent, translated
from headrace.engines.kafka.producing import Outlet
from headrace.engines.kafka.topics import WITHIN_S
from headrace.errors import Unavailable

_SLACK_S = 2.0
_TELL_MS = 100
_FORGOTTEN = {
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.INVALID_PRODUCER_ID_MAPPING,
    KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
    KafkaError.PRODUCER_FENCED,
    KafkaError.UNKNOWN_PRODUCER_ID,
}
"""What brokers say that do not know any more what a producer has written, or take it for another one."""


class _Eos(msgspec.Struct):
    idemp_state: str = ""


class _Statistics(msgspec.Struct):
    """What the client library says of itself, as far as it matters here."""

    eos: _Eos = msgspec.field(default_factory=_Eos)


_statistics = msgspec.json.Decoder(_Statistics)


class Writer:
    """An idempotent producer, shared by threads; what one thread sends to a topic stays in order.

    Brokers that did not answer in time are asked in the background whether they are back. Until they are, writing fails
    at once, so that whoever waits for the log does not wait for each record.

    Args:
        address: The cluster.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._known = threading.Event()
        properties = address.properties(
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            compression_type="lz4",
            message_timeout_ms=int(WITHIN_S * 1000),
            statistics_interval_ms=_TELL_MS,
        )
        self._outlet = Outlet(address, "kafka", {**properties, "stats_cb": self._heard})

    def start(self, name: str) -> None:
        """Connect, and wait until a message to this topic is written at once.

        That takes up to a second: the client library looks twice a second whether it may ask for what makes repeated
        messages known.

        Raises:
            Unavailable: No broker answered in time.
        """
        with self.reaching(name):
            where, producer = f"{self._address.brokers} {name}", self._outlet.producer()
            with translated(where):
                producer.list_topics(name, timeout=WITHIN_S)
            if not self._known.wait(WITHIN_S):
                raise silent(where, f"the brokers give out no number for a producer{self._address.heard.lately()}")

    def send(self, name: str, values: Sequence[bytes], *, key: bytes | None = None, at_ms: int = 0) -> list[int]:
        """Write messages to a topic; return their offsets, once all replicas in sync have them.

        Args:
            name: What Kafka calls the topic.
            values: The messages.
            key: Of all of them, where a compacted topic asks for one.
            at_ms: Their Unix milliseconds; 0 for now.

        Raises:
            Unavailable: They did not in time; whether they will is not known.
            SettingsError: The topic takes no message of this size.
            Unauthorized: We may not write here.
        """
        where = self._reached(name)
        fate = _Fate(len(values))
        producer = self._outlet.producer()
        with translated(where):
            try:
                for value in values:
                    producer.produce(name, value, key, partition=0, on_delivery=fate.told, timestamp=at_ms)
            except BufferError as error:
                raise silent(where, "more waits to be sent than the memory for it holds") from error
        if not fate.known.wait(WITHIN_S + _SLACK_S):
            self._outlet.missed(producer)
            raise silent(where, f"no answer within {WITHIN_S:g} s{self._address.heard.lately()}")
        if fate.error is not None:
            raise self._failed(producer, fate.error, where)
        if min(fate.offsets, default=0) < 0:
            raise silent(where, "a repeated message was taken for known, and its offset was not told")
        return fate.offsets

    @contextmanager
    def reaching(self, name: str) -> Iterator[None]:
        """What is asked of the brokers inside, before a topic can be written, fails like writing: slowly, but once.

        Raises:
            Unavailable: No broker answers.
        """
        self._reached(name)
        try:
            yield
        except Unavailable:
            self._outlet.missed(self._outlet.producer())
            raise

    def close(self) -> None:
        """Send what is queued and end the thread."""
        self._outlet.close(WITHIN_S)

    def _reached(self, name: str) -> str:
        where, away_s = f"{self._address.brokers} {name}", self._outlet.away_s
        if away_s is not None:
            raise silent(where, f"no broker answers since {away_s:.0f} s{self._address.heard.lately()}")
        return where

    def _heard(self, statistics: str) -> None:
        if not self._known.is_set() and _statistics.decode(statistics).eos.idemp_state == "Assigned":
            self._known.set()

    def _failed(self, producer: Producer, error: KafkaError, where: str) -> Exception:
        if error.fatal() or error.code() in _FORGOTTEN:
            self._outlet.drop(producer)
        translated_error = fault(error, where)
        if isinstance(translated_error, Unavailable) and error.code() == KafkaError._MSG_TIMED_OUT:  # noqa: SLF001
            self._outlet.missed(producer)
        return translated_error


class _Fate:
    """What becomes of some messages."""

    def __init__(self, count: int) -> None:
        self._left = count
        self.known = threading.Event()
        self.offsets: list[int] = []
        self.error: KafkaError | None = None

    def told(self, error: KafkaError | None, message: Message) -> None:
        """Called for each message, by the one thread that serves them all."""
        if error is None:
            offset = message.offset()
            self.offsets.append(-1 if offset is None else offset)
        else:
            self.error = error
        self._left -= 1
        if not self._left:
            self.known.set()
