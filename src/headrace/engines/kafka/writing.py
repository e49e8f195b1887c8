"""Writing: a message counts once every replica in sync has it, and a silent broker costs a bounded time, once."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from headrace.engines.kafka.address import Address
from headrace.engines.kafka.faults import fault, silent, translated
from headrace.engines.kafka.topics import WITHIN_S
from headrace.errors import Unavailable

_SLACK_S = 2.0
_POLL_S = 0.1
_ASK_S = 0.5
_FORGOTTEN = {
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.INVALID_PRODUCER_ID_MAPPING,
    KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
    KafkaError.PRODUCER_FENCED,
    KafkaError.UNKNOWN_PRODUCER_ID,
}
"""What brokers say that do not know any more what a producer has written, or take it for another one."""


class Writer:
    """An idempotent producer, shared by threads; what one thread sends to a topic stays in order.

    Brokers that did not answer in time are asked in the background whether they are back. Until they are, writing fails
    at once, so that whoever waits for the log does not wait for each record.

    Args:
        address: The cluster.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._producer: Producer | None = None
        self._away_since: float | None = None

    def start(self) -> None:
        """Connect, in the background; the first message is then half a second faster."""
        self._running()

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
        producer = self._running()
        with translated(where):
            try:
                for value in values:
                    producer.produce(name, value, key, partition=0, on_delivery=fate.told, timestamp=at_ms)
            except BufferError as error:
                raise silent(where, "more waits to be sent than the memory for it holds") from error
        if not fate.known.wait(WITHIN_S + _SLACK_S):
            self._missed(producer)
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
            self._missed(self._running())
            raise

    def close(self) -> None:
        """Send what is queued and end the thread."""
        with self._lock:
            producer, self._producer = self._producer, None
        if producer is not None:
            producer.flush(WITHIN_S)

    def _reached(self, name: str) -> str:
        where = f"{self._address.brokers} {name}"
        if self._away_since is not None:
            away_s = time.monotonic() - self._away_since
            raise silent(where, f"no broker answers since {away_s:.0f} s{self._address.heard.lately()}")
        return where

    def _running(self) -> Producer:
        with self._lock:
            if self._producer is None:
                with translated(self._address.brokers):
                    self._producer = Producer(
                        self._address.properties(
                            acks="all",
                            enable_idempotence=True,
                            linger_ms=0,
                            compression_type="lz4",
                            message_timeout_ms=int(WITHIN_S * 1000),
                        )
                    )
                serve = threading.Thread(target=self._serve, args=(self._producer,), name="kafka", daemon=True)
                serve.start()
            return self._producer

    def _serve(self, producer: Producer) -> None:
        """Tell the fate of messages, and look for brokers that were away."""
        while self._producer is producer:
            producer.poll(_POLL_S)
            if self._away_since is not None:
                try:
                    producer.list_topics(timeout=_ASK_S)
                except KafkaException:
                    continue
                self._away_since = None
        producer.flush(WITHIN_S)  # whoever still waits for this producer is told

    def _failed(self, producer: Producer, error: KafkaError, where: str) -> Exception:
        if error.fatal() or error.code() in _FORGOTTEN:  # this producer can never write again; another one can
            with self._lock:
                if self._producer is producer:
                    self._producer = None
        translated_error = fault(error, where)
        if isinstance(translated_error, Unavailable) and error.code() == KafkaError._MSG_TIMED_OUT:  # noqa: SLF001
            self._missed(producer)
        return translated_error

    def _missed(self, producer: Producer) -> None:
        if self._away_since is None and self._producer is producer:
            self._away_since = time.monotonic()


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
