"""Reading: from any message on, up to what the topic held when asked."""

import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from headrace.engines.kafka.address import Address
from headrace.engines.kafka.batches import Joined, Part, Whole, decode, whole
from headrace.engines.kafka.faults import fault, silent, translated
from headrace.engines.kafka.topics import WITHIN_S, Topics

_WAIT_MS = 50
_FETCH_KB = 256
_NO_SUCH_TOPIC = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION, KafkaError._UNKNOWN_TOPIC}  # noqa: SLF001 - the library's names


class Reader:
    """A consumer of no group, at one place of one topic at a time; one thread at a time may use it.

    Args:
        address: The cluster.
        topics: Its topics.
    """

    def __init__(self, address: Address, topics: Topics) -> None:
        self._address, self._topics = address, topics
        self._consumer: Consumer | None = None
        self._at: tuple[str, int] | None = None

    def span(self, name: str) -> tuple[int, int]:
        """The first offset that a topic still holds, and the one that its next message will have; equal when empty.

        This makes no topic, and must be the first that a client is asked: then it uses the connection that it is
        made with, where most other questions wait for the next.
        """
        consumer, partition = self._opened(), TopicPartition(name, 0)
        with translated(f"{self._address.brokers} {name}"):
            try:
                low, high = consumer.get_watermark_offsets(partition, timeout=WITHIN_S)
            except KafkaException as error:
                if error.args[0].code() in _NO_SUCH_TOPIC:
                    return 0, 0
                raise
        return max(low, 0), max(high, self.seen(name), 0)

    def seen(self, name: str) -> int:
        """Where the topic ended when messages of it last came; less than 0 while none did."""
        with translated(f"{self._address.brokers} {name}"):
            _, high = self._opened().get_watermark_offsets(TopicPartition(name, 0), cached=True)
        return high

    def since(self, name: str, moment_ms: int) -> int:
        """The first message whose newest record is of this Unix millisecond or later; -1 when there is none yet."""
        with translated(f"{self._address.brokers} {name}"):
            (found,) = self._opened().offsets_for_times([TopicPartition(name, 0, moment_ms)], timeout=WITHIN_S)
        return int(found.offset)

    def identity(self, name: str) -> str:
        """What tells a topic from one that had its name before."""
        return self._topics.identity(name)

    def next(self, name: str, start: int, end: int) -> tuple[int, bytes] | None:
        """The first message at or after ``start`` and before ``end``, with its offset; None when there is none.

        Going on where the last call ended costs nothing; elsewhere costs a fetch.
        """
        if start >= end:
            self.release()
            return None
        where, consumer = f"{self._address.brokers} {name}", self._opened()
        with translated(where):
            if self._at != (name, start):
                consumer.assign([TopicPartition(name, 0, start)])
            found = self._poll(consumer, where)
        offset = -1 if found is None else found.offset() or 0
        if found is None or not start <= offset < end:  # before the start: the topic lost its end
            self.release()
            return None
        self._at = (name, offset + 1)
        return offset, found.value() or b""

    def holds(self, name: str, offset: int) -> bool:
        """Whether a topic has a message at this offset, by what it sends."""
        found = self.next(name, offset, offset + 1)
        self.release()
        return found is not None

    def batch(self, name: str, at: int, message: bytes) -> Whole | None:
        """The batch that the message at this offset makes exist, its parts fetched.

        None when it is a part, not ours, or partly gone.
        """
        found = decode(message)
        if not isinstance(found, Joined):
            return found if isinstance(found, Whole) else None
        if not all(0 <= offset < at for offset in found.parts):
            return None
        pieces = []
        for offset in found.parts:
            got = self.next(name, offset, offset + 1)
            part = None if got is None or got[0] != offset else decode(got[1])
            if not isinstance(part, Part):
                return None
            pieces.append(part.piece)
        return whole(pieces)

    def release(self) -> None:
        """Fetch nothing ahead any more."""
        if self._consumer is not None and self._at is not None:
            self._consumer.unassign()
        self._at = None

    def close(self) -> None:
        """End the consumer's threads."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _poll(self, consumer: Consumer, where: str) -> Message | None:
        """The next message; None at the end of the topic."""
        self._at = None
        until = time.monotonic() + WITHIN_S
        while (left := until - time.monotonic()) > 0:
            found = consumer.poll(left)
            error = None if found is None else found.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the library's name for it
                    return None
                if not error.retriable():
                    raise fault(error, where)
            elif found is not None:
                return found
        consumer.unassign()
        raise silent(where, f"no answer within {WITHIN_S:g} s{self._address.heard.lately()}")

    def _opened(self) -> Consumer:
        if self._consumer is None:
            with translated(self._address.brokers):
                self._consumer = Consumer(
                    self._address.properties(
                        group_id=f"{self._address.prefix}-readers",  # it joins none, and commits nothing
                        enable_auto_commit=False,
                        enable_partition_eof=True,
                        auto_offset_reset="earliest",
                        fetch_wait_max_ms=_WAIT_MS,
                        fetch_message_max_bytes=_FETCH_KB * 1024,
                        # Fetching far ahead keeps whoever wants something elsewhere waiting for all of it.
                        queued_min_messages=1,
                        queued_max_messages_kbytes=_FETCH_KB,
                        fetch_queue_backoff_ms=1,
                    )
                )
        return self._consumer
