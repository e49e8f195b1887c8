"""What every Stream engine must do. Subclass ``StreamSuite`` and return the engine from ``stream`` and ``other``."""

import contextlib
import threading
from typing import ClassVar

import pytest

from headrace.errors import NameRefused, Unavailable
from headrace.storage.stream import Bounds, Record, Stream

_WRITERS = 4
_BATCHES = 25


def records(*keys: str) -> list[Record]:
    """Small records with these keys."""
    return [Record(key, f"value of {key}".encode(), 1_700_000_000_000 + i) for i, key in enumerate(keys)]


def one_by_one(stream: Stream, batch: list[Record]) -> list[int]:
    """Each record in a commit of its own: an engine may forget whole batches only. Their offsets."""
    return [stream.append("orders", [record]) for record in batch]


class StreamSuite:
    """Cases for the port ``storage.stream.Stream``.

    Attributes:
        forgets: Whether what the engine writes to can delete records; asking one that cannot loses nothing.
    """

    forgets: ClassVar[bool] = True

    def kept(self, forgotten: str) -> list[str]:
        """What of the keys of records that ought to be forgotten is still there."""
        return [] if self.forgets else [*forgotten]

    def forget(self, stream: Stream, keep: Bounds) -> None:
        """Ask for it, and see the answer."""
        with contextlib.nullcontext() if self.forgets else contextlib.suppress(Unavailable):
            assert stream.append("orders", [], keep=keep) == -1

    @pytest.fixture
    def stream(self) -> Stream:
        """The engine under test, empty."""
        raise NotImplementedError

    @pytest.fixture
    def other(self, stream: Stream) -> Stream:
        """The same streams, opened again as another process opens them; on another host, where the engine allows it."""
        raise NotImplementedError

    def test_offsets_grow_in_the_order_of_writing(self, stream: Stream) -> None:
        """Append tells that of the batch's first record."""
        first, second = stream.append("orders", records("a", "b")), stream.append("orders", records("c"))
        found = stream.read("orders")
        assert [r.key for r in found] == ["a", "b", "c"]
        assert [found[0].offset, found[2].offset] == [first, second]
        assert 0 <= first < found[1].offset < second

    def test_records_read_back_as_written(self, stream: Stream) -> None:
        """Any bytes, any text as key, any time."""
        written = [Record("", b"", 0), Record("ключ\n", bytes(range(256)) * 300, 2**52)]
        stream.append("orders", written)
        assert [r._replace(offset=-1) for r in stream.read("orders")] == written

    def test_reading_goes_on_after_an_offset(self, stream: Stream) -> None:
        """``after`` excludes, ``limit`` bounds, the end is empty."""
        stream.append("orders", records(*"abcdefg"))
        offsets = [r.offset for r in stream.read("orders")]
        assert [r.key for r in stream.read("orders", after=offsets[2], limit=3)] == ["d", "e", "f"]
        assert [r.key for r in stream.read("orders", after=offsets[5], limit=3)] == ["g"]
        assert [r.key for r in stream.read("orders", limit=1)] == ["a"]
        assert stream.read("orders", after=offsets[6]) == []

    def test_reading_page_by_page_follows_what_is_written_meanwhile(self, stream: Stream) -> None:
        """Pages end inside batches and between them; the end is not the end for good."""
        found: list[Record] = []
        for batch in range(5):
            stream.append("orders", records(*(f"{batch}.{n}" for n in range(7))))
            while page := stream.read("orders", after=found[-1].offset if found else -1, limit=3):
                found += page
        assert [r.key for r in found] == [f"{batch}.{n}" for batch in range(5) for n in range(7)]

    def test_a_topic_that_nobody_wrote_is_empty(self, stream: Stream) -> None:
        """Nothing is raised, and nothing made."""
        assert stream.read("orders") == []
        assert stream.find("orders", "a") == []
        assert stream.commit("orders", "monitor") == -1

    def test_an_empty_batch_writes_nothing(self, stream: Stream) -> None:
        """It says so."""
        assert stream.append("orders", []) == -1
        assert stream.read("orders") == []
        assert stream.find("orders", "a") == []
        assert stream.append("orders", records("a")) >= 0
        assert [r.key for r in stream.read("orders")] == ["a"]

    def test_a_batch_may_be_large(self, stream: Stream, other: Stream) -> None:
        """In records of some MiB, and in many records; also between small ones."""
        large = [Record("large", bytes([n]) * 3_000_000, n) for n in range(2)]
        many = [Record(f"many {n}", b"x" * 500, n) for n in range(5000)]
        for batch in (records("before"), large, records("between"), many, records("after")):
            stream.append("orders", batch)
        found = other.read("orders", limit=10_000)
        assert [r.key for r in found] == ["before", "large", "large", "between", *(r.key for r in many), "after"]
        assert [(r.value, r.at_ms) for r in other.find("orders", "large")] == [(r.value, r.at_ms) for r in large]
        assert [r.offset for r in other.find("orders", "many 4999")] == [found[-2].offset]
        assert other.read("orders", after=found[2].offset, limit=2) == found[3:5]

    def test_records_are_found_by_key_in_order(self, stream: Stream) -> None:
        """Also when a key repeats, and only in its own topic."""
        stream.append("orders", records("a", "b", "a"))
        stream.append("scores", records("a"))
        written = stream.read("orders")
        assert stream.find("orders", "a") == [written[0], written[2]]
        assert stream.find("orders", "z") == []
        stream.append("orders", records("z", "a"))
        assert [r.key for r in stream.find("orders", "z")] == ["z"]
        assert len(stream.find("orders", "a")) == 3

    def test_cursors_are_kept_apart(self, stream: Stream) -> None:
        """By topic and by name; a commit may also go back."""
        assert stream.commit("orders", "monitor", 5) == 5
        assert stream.commit("orders", "replay") == -1
        assert stream.commit("scores", "monitor") == -1
        stream.commit("orders", "monitor", 2)
        assert stream.commit("orders", "monitor") == 2

    def test_another_process_goes_on(self, stream: Stream, other: Stream) -> None:
        """It reads, finds and adds records, and cursors are where they were left."""
        stream.append("orders", records("a"))
        stream.commit("orders", "monitor", 7)
        assert other.commit("orders", "monitor") == 7
        assert [r.key for r in other.find("orders", "a")] == ["a"]
        assert other.append("orders", records("b")) > stream.read("orders")[0].offset
        other.commit("orders", "monitor", 9)
        assert [r.key for r in stream.read("orders")] == [r.key for r in other.read("orders")] == ["a", "b"]
        assert [r.key for r in stream.find("orders", "b")] == ["b"]
        assert stream.commit("orders", "monitor") == 9

    def test_the_oldest_are_forgotten_by_age(self, stream: Stream) -> None:
        """What is left keeps its offsets, is found, and new records go on after it."""
        offsets = one_by_one(stream, records(*"abcdef"))
        self.forget(stream, Bounds(before_ms=1_700_000_000_002))
        assert [r.key for r in stream.read("orders")] == [*self.kept("ab"), *"cdef"]
        assert [r.offset for r in stream.read("orders")][-4:] == offsets[2:]
        assert [r.key for r in stream.find("orders", "a")] == self.kept("a")
        assert stream.find("orders", "c")[0].offset == offsets[2]
        assert stream.append("orders", records("g"), keep=Bounds()) > offsets[-1]
        assert [r.key for r in stream.read("orders", after=offsets[2])] == [*"defg"]

    def test_the_newest_is_never_forgotten(self, stream: Stream) -> None:
        """Or offsets would begin anew, and readers would skip what comes."""
        offsets = one_by_one(stream, records(*"abc"))
        self.forget(stream, Bounds(before_ms=2**52))
        assert [r.key for r in stream.read("orders")] == [*self.kept("ab"), "c"]
        assert stream.append("orders", records("d")) > offsets[-1]
        assert [r.key for r in stream.read("orders", after=offsets[-1])] == ["d"]

    def test_the_newest_is_kept_whole_however_large(self, stream: Stream) -> None:
        """Also where it is more than may be kept."""
        stream.append("orders", records("a"))
        stream.append("orders", [Record("large", bytes(3_000_000), 5)])
        self.forget(stream, Bounds(most_bytes=1000, before_ms=2**52))
        assert [(r.key, len(r.value)) for r in stream.read("orders")][-1] == ("large", 3_000_000)

    def test_the_oldest_are_forgotten_by_size(self, stream: Stream) -> None:
        """Until about so much is left."""
        large = b"x" * 10_000
        for batch in range(80):
            stream.append("orders", [Record(f"{batch}.{i}", large, 5 * batch + i) for i in range(5)])
        for _ in range(5):
            self.forget(stream, Bounds(most_bytes=1_000_000))
        left = stream.read("orders")
        assert 50 <= len(left) <= 100 or not self.forgets
        assert left[-1].key == "79.4"

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

    def test_writers_lose_and_mix_nothing(self, stream: Stream, other: Stream) -> None:
        """In threads and in processes: batches stay whole, and each has the offset that its writer was told."""
        told: dict[str, int] = {}

        def write(writer: int) -> None:
            for batch in range(_BATCHES):
                pair = records(f"{writer}.{batch}.a", f"{writer}.{batch}.b")
                told[pair[0].key] = (stream, other)[writer % 2].append("orders", pair)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(_WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = stream.read("orders", limit=10_000)
        offsets = [r.offset for r in found]
        assert offsets == sorted(set(offsets))
        assert {r.key: r.offset for r in found[::2]} == told
        pairs = [(first.key[:-2], second.key[:-2]) for first, second in zip(found[::2], found[1::2], strict=True)]
        assert all(first == second for first, second in pairs)
        assert len(set(pairs)) == _WRITERS * _BATCHES
