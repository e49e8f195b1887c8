"""What every Stream engine must do. Subclass ``StreamSuite`` and return the engine from ``stream``."""

import threading

import pytest

from headrace.errors import NameRefused
from headrace.storage.stream import Bounds, Record, Stream

_WRITERS = 4
_BATCHES = 25


def records(*keys: str) -> list[Record]:
    """Small records with these keys."""
    return [Record(key, f"value of {key}".encode(), 1_700_000_000_000 + i) for i, key in enumerate(keys)]


class StreamSuite:
    """Cases for the port ``storage.stream.Stream``."""

    @pytest.fixture
    def stream(self) -> Stream:
        """The engine under test, empty."""
        raise NotImplementedError

    def test_offsets_count_from_zero_without_gaps(self, stream: Stream) -> None:
        """Each batch starts where the one before ended."""
        assert stream.append("orders", records("a", "b")) == 0
        assert stream.append("orders", records("c")) == 2
        assert [(r.offset, r.key) for r in stream.read("orders")] == [(0, "a"), (1, "b"), (2, "c")]

    def test_records_read_back_as_written(self, stream: Stream) -> None:
        """Any bytes, any text as key, any time."""
        written = [Record("", b"", 0), Record("ключ\n", bytes(range(256)) * 300, 2**52)]
        stream.append("orders", written)
        assert [r._replace(offset=-1) for r in stream.read("orders")] == written

    def test_reading_goes_on_after_an_offset(self, stream: Stream) -> None:
        """``after`` excludes, ``limit`` bounds, the end is empty."""
        stream.append("orders", records(*"abcdefg"))
        assert [r.key for r in stream.read("orders", after=2, limit=3)] == ["d", "e", "f"]
        assert stream.read("orders", after=6) == []

    def test_a_topic_that_nobody_wrote_is_empty(self, stream: Stream) -> None:
        """Nothing is raised, and nothing made."""
        assert stream.read("orders") == []
        assert stream.find("orders", "a") == []
        assert stream.commit("orders", "monitor") == -1

    def test_an_empty_batch_writes_nothing(self, stream: Stream) -> None:
        """It says so."""
        assert stream.append("orders", []) == -1
        assert stream.read("orders") == []
        assert stream.append("orders", records("a")) == 0

    def test_records_are_found_by_key_in_order(self, stream: Stream) -> None:
        """Also when a key repeats, and only in its own topic."""
        stream.append("orders", records("a", "b", "a"))
        stream.append("scores", records("a"))
        assert [r.offset for r in stream.find("orders", "a")] == [0, 2]
        assert stream.find("orders", "z") == []

    def test_cursors_are_kept_apart(self, stream: Stream) -> None:
        """By topic and by name; a commit may also go back."""
        assert stream.commit("orders", "monitor", 5) == 5
        assert stream.commit("orders", "replay") == -1
        assert stream.commit("scores", "monitor") == -1
        stream.commit("orders", "monitor", 2)
        assert stream.commit("orders", "monitor") == 2

    def test_the_oldest_are_forgotten_by_age(self, stream: Stream) -> None:
        """What is left keeps its offsets, is found, and new records go on after it."""
        stream.append("orders", records(*"abcdef"))
        assert stream.append("orders", [], keep=Bounds(before_ms=1_700_000_000_002)) == -1
        assert [(r.offset, r.key) for r in stream.read("orders")] == [(2, "c"), (3, "d"), (4, "e"), (5, "f")]
        assert stream.find("orders", "a") == []
        assert stream.append("orders", records("g"), keep=Bounds()) == 6
        assert len(stream.read("orders")) == 5

    def test_the_newest_is_never_forgotten(self, stream: Stream) -> None:
        """Or offsets would begin anew, and readers would skip what comes."""
        stream.append("orders", records(*"abc"))
        stream.append("orders", [], keep=Bounds(before_ms=2**52))
        assert [(r.offset, r.key) for r in stream.read("orders")] == [(2, "c")]
        assert stream.append("orders", records("d")) == 3

    def test_the_oldest_are_forgotten_by_size(self, stream: Stream) -> None:
        """Until about so much is left."""
        large = b"x" * 10_000
        stream.append("orders", [Record(str(i), large, i) for i in range(400)])
        for _ in range(5):
            stream.append("orders", [], keep=Bounds(most_bytes=1_000_000))
        left = stream.read("orders")
        assert 50 <= len(left) <= 100
        assert left[-1].key == "399"

    def test_a_topic_that_nobody_wrote_has_nothing_to_forget(self, stream: Stream) -> None:
        """Nothing is raised."""
        assert stream.append("orders", [], keep=Bounds(1, 1)) == -1
        assert stream.read("orders") == []

    def test_power_safe_batches_are_batches_like_others(self, stream: Stream) -> None:
        """The promise is about the disk; what is read is the same."""
        stream.append("orders", records("a"), power_safe=True)
        stream.append("orders", records("b"))
        assert [r.key for r in stream.read("orders")] == ["a", "b"]

    def test_topics_are_names(self, stream: Stream) -> None:
        """A topic never becomes a path of the caller's choice."""
        for topic in ("../orders", "a/b", "", ".hidden"):
            with pytest.raises(NameRefused):
                stream.append(topic, records("a"))

    def test_writers_in_threads_lose_and_mix_nothing(self, stream: Stream) -> None:
        """Batches stay whole, and every record has an offset of its own."""

        def write(writer: int) -> None:
            for batch in range(_BATCHES):
                stream.append("orders", records(f"{writer}.{batch}.a", f"{writer}.{batch}.b"))

        threads = [threading.Thread(target=write, args=(number,)) for number in range(_WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = stream.read("orders", limit=10_000)
        assert [r.offset for r in found] == list(range(_WRITERS * _BATCHES * 2))
        pairs = [(first.key[:-2], second.key[:-2]) for first, second in zip(found[::2], found[1::2], strict=True)]
        assert all(first == second for first, second in pairs)
        assert len(set(pairs)) == _WRITERS * _BATCHES
