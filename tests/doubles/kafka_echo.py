"""Sends messages of an endpoint's exchange once more, later than others; and reads what was set aside."""

import random
import threading
from collections import Counter, deque
from contextlib import contextmanager

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, Producer, TopicPartition

from headrace.engines.kafka.address import Address
from headrace.engines.kafka.topics import Topics

_LATER = 20


def _reading(address, names, offset):
    consumer = Consumer(address.properties(group_id="echo", enable_auto_commit=False))
    topics = consumer.list_topics(timeout=10).topics
    consumer.assign([TopicPartition(name, number, offset) for name in names for number in topics[name].partitions])
    return consumer


@contextmanager
def echoing(uri, endpoint, share):
    """Sends a share of all questions and answers again; yields how many, by topic."""
    address = Address.parse(uri)
    named = {Topics(address).named(f"{what}.{endpoint}"): f"{what}.{endpoint}" for what in ("asked", "scored")}
    echoed, stop, chance = Counter(), threading.Event(), random.Random(1)

    def run():
        consumer, producer, held = (
            _reading(address, named, OFFSET_END),
            Producer(address.properties(linger_ms=0)),
            deque(),
        )
        while not stop.is_set():
            message = consumer.poll(0.05)
            if message is None or message.error() or message.headers():
                continue
            if chance.random() < share:
                held.append(message)
            if len(held) > _LATER:
                again = held.popleft()
                producer.produce(again.topic(), again.value(), partition=again.partition(), headers=[("again", b"1")])
                producer.poll(0)
                echoed[named[again.topic()]] += 1
        producer.flush(5)
        consumer.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield echoed
    finally:
        stop.set()
        thread.join()


def set_aside(uri, endpoint):
    """Why each message was set aside."""
    address = Address.parse(uri)
    consumer = _reading(address, [Topics(address).named(f"set-aside.{endpoint}")], OFFSET_BEGINNING)
    found, tries = [], 0
    while tries < 10:
        message = consumer.poll(0.1)
        if message is None or message.error():
            tries += 1
        else:
            found.append(dict(message.headers())["why"].decode())
    consumer.close()
    return found
