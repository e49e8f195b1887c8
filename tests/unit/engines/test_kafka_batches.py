from headrace.engines.kafka.batches import (
    PART_BYTES,
    Joined,
    Part,
    decode,
    encode,
    joined,
    keys_of,
    message_of,
    offset_of,
    place_of,
    records_of,
    whole,
)
from headrace.storage.stream import Record

RECORDS = [Record("a", b"1", 5), Record("b", b"", 6)]


def test_a_batch_is_one_message():
    (message,) = encode(RECORDS, "orders")
    assert records_of(decode(message), 3) == [r._replace(offset=offset_of(3) + n) for n, r in enumerate(RECORDS)]
    assert keys_of(message) == ["a", "b"]


def test_a_large_one_is_made_of_parts():
    large = [Record("a", bytes(PART_BYTES), 5), Record("b", b"end", 6)]
    parts = encode(large, "orders")
    assert len(parts) == 2
    assert all(isinstance(decode(part), Part) and keys_of(part) == [] for part in parts)
    batch = whole([decode(part).piece for part in parts])
    assert [r._replace(offset=-1) for r in records_of(batch, 0)] == large
    assert whole([decode(parts[0]).piece]) is None
    assert keys_of(joined([4, 6])) == Joined([4, 6]) == decode(joined([4, 6]))


def test_what_others_write_is_nothing():
    for message in (b"", b"hello", b"\x93\x01\x02\x03"):
        assert decode(message) is None
        assert keys_of(message) == []


def test_an_offset_is_its_message_and_its_place_there():
    offset = offset_of(2**38) + 7
    assert (message_of(offset), place_of(offset)) == (2**38, 7)
    assert message_of(-1) < 0
