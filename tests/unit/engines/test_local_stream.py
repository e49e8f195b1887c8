import os
import shutil
import subprocess
import sys
import threading
import tracemalloc

import pytest
from server_process import until

from headrace.engines.local.appending import Roll
from headrace.engines.local.frames import HEADER_BYTES
from headrace.engines.local.segment import HEAD_BYTES, bases, path_of
from headrace.engines.local.stream import LocalStream
from headrace.errors import Unavailable
from headrace.storage.stream import Bounds, Record
from headrace.storage.stream import newest as newest_record

HOUR_MS = 3600 * 1000
ROLL = Roll(most_bytes=4096, least_bytes=1024)


def add(stream, *keys, size=500, at_ms=0):
    """Each in a frame of its own; their offsets."""
    return [stream.append("t", [Record(key, key.encode() * (size // len(key)), at_ms)]) for key in keys]


def keys(stream, after=-1):
    return [record.key for record in stream.read("t", after=after)]


def numbered(count, first=0):
    return [f"{number:04}" for number in range(first, first + count)]


def newest(folder):
    return path_of(folder, bases(folder)[-1])


def test_a_topic_goes_on_to_a_new_segment_when_one_is_large(opened, folder):
    stream = opened()
    offsets = add(stream, *numbered(40))
    sizes = [path_of(folder, base).stat().st_size for base in bases(folder)]
    assert len(sizes) == 5
    assert all(4096 <= size < 4096 + 700 for size in sizes[:-1])
    assert [base + size for base, size in zip(bases(folder), sizes, strict=True)][:-1] == bases(folder)[1:]
    assert [(r.key, r.offset) for r in stream.read("t")] == list(zip(numbered(40), offsets, strict=True))
    assert [stream.find("t", key)[0].offset for key in numbered(40)] == offsets


@pytest.mark.parametrize(
    ("size", "hours", "segments"),
    [(2000, 0.9, 1), (2000, 1, 2), (100, 23, 1), (100, 24, 2)],
    ids=["within the hour", "an hour", "little of a day", "a day"],
)
def test_a_topic_goes_on_to_a_new_segment_when_one_is_old(opened, folder, size, hours, segments):
    stream = opened()
    add(stream, "a", size=size, at_ms=5)
    add(stream, "b", at_ms=5 + int(hours * HOUR_MS))
    assert len(bases(folder)) == segments
    assert keys(stream) == ["a", "b"]


def test_a_segment_is_an_eighth_of_what_is_kept(opened, folder):
    stream = opened(Roll())
    for key in numbered(200):
        stream.append("t", [Record(key, bytes(500), 0)], keep=Bounds(most_bytes=16_000))
        size = sum(file.stat().st_size for file in folder.glob("*.log"))
        assert size < 16_000 + 2 * 2600
    assert size > 16_000 - 2600
    assert keys(stream)[-25:] == numbered(25, 175)
    assert len(list(folder.glob("*.keys"))) == len(bases(folder)) - 1


def test_a_batch_waits_for_one_segment_to_be_forgotten_not_for_all(opened, folder):
    stream = opened(Roll(most_bytes=1))
    add(stream, *numbered(20))
    stream.append("t", [Record("next", b"", 10)], keep=Bounds(before_ms=5))
    assert len(bases(folder)) == 20 + 1 - 1
    stream.append("t", [], keep=Bounds(before_ms=5))
    assert keys(stream) == ["next"]


def test_what_killed_processes_left_half_written_is_deleted_after_a_while(opened, folder):
    folder.mkdir()
    left, written = folder / ".half-left", folder / ".half-written"
    for file in (left, written):
        file.write_bytes(b"?")
    os.utime(left, (0, 0))
    add(opened(), "a")
    assert sorted(file.name for file in folder.iterdir()) == [".half-written", newest(folder).name]


def test_records_of_any_size_are_looked_at_without_holding_them(opened, folder):
    stream, size = opened(Roll(most_bytes=1)), 24 << 20
    add(stream, "small")
    held = [Record("large", bytes(size), 5), Record("beside", b"b", 6)]
    stream.append("t", held)
    add(stream, "last", size=size, at_ms=7)
    stream.close()
    for file in folder.glob("*.keys"):
        file.unlink()
    tracemalloc.start()
    try:
        other = opened(Roll(most_bytes=1))
        other.append("t", [])
        assert [record[1:] for record in other.find("t", "beside")] == [(b"b", 6, stream_offset(folder, 1) + 1)]
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
        assert newest_record(other, "t").at_ms == 7
        assert tracemalloc.get_traced_memory()[1] < size + (8 << 20)
    finally:
        tracemalloc.stop()
    assert [(r.key, r.value, r.at_ms) for r in other.read("t", after=HEAD_BYTES, limit=2)] == [r[:3] for r in held]


def stream_offset(folder, segment):
    return bases(folder)[segment] + HEAD_BYTES


def test_a_log_may_be_copied_while_it_is_written(opened, folder, tmp_path):
    stream, done = opened(), threading.Event()

    def write():
        number = 0
        while not done.is_set():
            add(stream, f"{number:06}")
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        until(lambda: len(bases(folder)) > 3)
        for copy in range(5):
            shutil.copytree(folder, tmp_path / f"copy {copy}" / "t", ignore=shutil.ignore_patterns(".*"))
    finally:
        done.set()
        writer.join()
    for copy in range(5):
        other = LocalStream(tmp_path / f"copy {copy}", ROLL)
        found = [r.key for r in other.read("t", limit=10**6)]
        assert found == [f"{n:06}" for n in range(len(found))]
        assert len(found) > 20
        assert [len(other.find("t", key)) for key in (found[0], found[-1])] == [1, 1]
        other.close()


def test_two_that_forget_do_not_hold_each_other_up(opened, folder):
    one, other = opened(Roll(most_bytes=1)), opened(Roll(most_bytes=1))
    add(one, *numbered(6))
    other.append("t", [])
    one.append("t", [], keep=Bounds(before_ms=5))
    add(other, "a", "b")
    other.append("t", [], keep=Bounds(before_ms=5))
    assert keys(one) == keys(other) == ["b"]


def test_a_reader_goes_on_where_what_comes_next_was_forgotten(opened):
    stream, reader = opened(Roll(most_bytes=1)), opened()
    offsets = add(stream, *numbered(6))
    assert [r.key for r in reader.read("t", limit=2)] == ["0000", "0001"]
    assert len(reader.find("t", "0003")) == 1
    stream.append("t", [], keep=Bounds(before_ms=1))
    add(stream, "new")
    assert keys(reader, offsets[1]) == ["0005", "new"]
    assert reader.find("t", "0003") == []
    assert len(reader.find("t", "new")) == 1


def test_reading_begins_at_any_offset(opened):
    stream = opened()
    offsets = [stream.append("t", [Record(f"{key}.{n}", b"x" * 50, 0) for n in range(3)]) for key in numbered(40)]
    everything = stream.read("t")
    for after in range(0, offsets[-1] + 10, 37):
        assert stream.read("t", after=after) == [record for record in everything if record.offset > after]


@pytest.mark.parametrize("cut", [1, HEADER_BYTES - 1, HEADER_BYTES + 1, 500])
def test_a_torn_frame_is_passed_over_and_never_written_over(opened, folder, cut):
    stream = opened()
    offsets = add(stream, "a", "b", "torn")
    stream.close()
    torn = newest(folder)
    os.truncate(torn, offsets[2] + cut)
    held = torn.read_bytes()
    other = opened()
    assert keys(other) == ["a", "b"]
    assert other.find("t", "torn") == []
    assert add(other, "c")[0] > offsets[2]
    assert torn.read_bytes() == held
    assert keys(other) == keys(opened()) == ["a", "b", "c"]
    assert [[r.key for r in other.find("t", key)] for key in ("b", "torn", "c")] == [["b"], [], ["c"]]


def test_a_frame_that_another_process_left_torn_is_passed_over(opened, folder):
    stream, reader = opened(), opened()
    add(stream, "a")
    assert keys(reader) == ["a"]
    assert len(reader.find("t", "a")) == 1
    with newest(folder).open("ab") as file:
        file.write(newest(folder).read_bytes()[HEAD_BYTES : HEAD_BYTES + 100])
    add(stream, "b")
    assert keys(reader) == ["a", "b"]
    assert len(reader.find("t", "b")) == 1


def test_whoever_dies_while_a_segment_is_begun_leaves_nothing_to_mend(opened, folder):
    stream = opened()
    add(stream, *numbered(8))
    assert len(bases(folder)) == 1
    add(stream, "next")
    stream.close()
    first, second = (path_of(folder, base) for base in bases(folder))
    whole, sealed = second.read_bytes(), [*first.parent.glob("*.keys")]
    for left in (None, b"", whole[:10], bytes(HEAD_BYTES), bytes(len(whole))):
        second.unlink()
        if left is not None:
            second.write_bytes(left)
        for file in sealed:
            file.unlink(missing_ok=True)
        assert keys(opened()) == numbered(8)
        assert len(opened().find("t", "0003")) == 1
        again = opened()
        add(again, "more")
        assert keys(again) == [*numbered(8), "more"]
        assert [len(again.find("t", key)) for key in ("0003", "more")] == [1, 1]
        for base in bases(folder)[2:]:
            path_of(folder, base).unlink()
        assert sealed[0].is_file()


def test_a_segment_that_cannot_be_begun_is_begun_later(opened, folder):
    stream = opened()
    add(stream, *numbered(8))
    in_the_way = path_of(folder, newest(folder).stat().st_size + HEADER_BYTES)
    in_the_way.mkdir()
    for _ in range(2):
        with pytest.raises(Unavailable):
            add(stream, "lost")
    assert len(bases(folder)) == 2
    in_the_way.rmdir()
    add(stream, "kept")
    assert keys(stream) == [*numbered(8), "kept"]
    assert len(bases(folder)) == 2


def test_damage_is_told_and_what_lies_elsewhere_is_read_and_written(opened, folder):
    stream = opened()
    offsets = add(stream, *numbered(30))
    path = path_of(folder, bases(folder)[1])
    with path.open("r+b") as file:
        file.seek(offsets[10] - bases(folder)[1] + 100)
        file.write(b"?")
    other = opened()
    before = other.read("t")
    assert [r.key for r in before] == numbered(10)
    with pytest.raises(Unavailable, match="a part of the log is damaged") as told:
        other.read("t", after=before[-1].offset)
    assert told.value.where == str(path)
    assert told.value.fix.startswith(f"mv {path} {path}.damaged; ")
    add(other, "new")
    assert [len(other.find("t", key)) for key in ("0009", "0010", "0011", "new")] == [1, 0, 1, 1]
    path.rename(f"{path}.damaged")
    assert keys(other)[-5:] == [*numbered(4, 26), "new"]


def test_a_file_that_is_no_segment_is_told_and_not_written(opened, folder):
    stream = opened()
    add(stream, "a")
    stream.close()
    newest(folder).write_bytes(b"this is no log" * 100)
    held = newest(folder)
    with pytest.raises(Unavailable, match="damaged"):
        opened().read("t")
    other = opened()
    add(other, "b")
    assert held.read_bytes() == b"this is no log" * 100
    assert [r.key for r in other.find("t", "b")] == ["b"]


@pytest.mark.parametrize("harm", ["missing", "empty", "zeros", "of another version"])
def test_keys_are_found_without_their_file(opened, folder, harm):
    stream = opened()
    offsets = add(stream, *numbered(20))
    file = min(folder.glob("*.keys"))
    whole = file.read_bytes()
    held = {"missing": None, "empty": b"", "zeros": whole[:-40] + bytes(40), "of another version": b"headrak0"}[harm]
    file.unlink()
    if held is not None:
        file.write_bytes(held)
    assert [opened().find("t", key)[0].offset for key in numbered(20)] == offsets
    add(opened(), "more")
    assert file.read_bytes() == whole


def test_who_asks_for_few_keys_of_the_newest_segment_gathers_none(opened, monkeypatch):
    from headrace.engines.local import reading

    stream, reader = opened(Roll()), opened()
    stream.append("t", [Record(key, b"v", 0) for key in numbered(1000)])
    gathered, real = [], reading.Followed

    def gathering(segment):
        gathered.append(segment.base)
        return real(segment)

    monkeypatch.setattr(reading, "Followed", gathering)
    assert [len(reader.find("t", key)) for key in [*numbered(7), "none"]] == [*[1] * 7, 0]
    assert gathered == []
    assert [len(reader.find("t", key)) for key in numbered(8)] == [1] * 8
    assert gathered == [0]


@pytest.mark.parametrize("window", [32, 61, 256 * 1024])
@pytest.mark.parametrize("harm", ["", "torn", "damaged"])
def test_what_is_searched_for_is_what_the_keys_tell(opened, folder, monkeypatch, window, harm):
    from headrace.engines.local import reading, segment

    stream = opened(Roll())
    for number in range(12):
        held = [Record(f"k{number}.{n}", f"k{number + 1}.0 k{n}.{number}".encode() * number, 0) for n in range(number)]
        stream.append("t", [*held, Record("same", b"same", 0), Record("x" * 300, b"k3.0", 0)])
    first = stream.append("t", [Record("k99", b"k2.0" * 9, 0)])
    with newest(folder).open("r+b") as file:
        if harm == "torn":
            file.truncate(first + 40)
        elif harm == "damaged":
            file.seek(stream.find("t", "k5.0")[0].offset + 30)
            file.write(b"?")
    asked = ["same", "x" * 300, "k99", "", "k", *(f"k{a}.{b}" for a in range(13) for b in range(13))]
    monkeypatch.setattr(segment, "_WINDOW", window)
    monkeypatch.setattr(reading, "_SEARCHES", 1000)
    searched = opened()
    found = [[record.offset for record in searched.find("t", key)] for key in asked]
    monkeypatch.setattr(reading, "_SEARCHES", 0)
    followed = opened()
    assert found == [[record.offset for record in followed.find("t", key)] for key in asked]
    assert sum(map(len, found)) == {"": 91, "torn": 90, "damaged": 84}[harm]


def test_a_value_that_looks_like_a_frame_is_none(opened, folder):
    stream = opened(Roll())
    first, second = add(stream, "a", "b")
    stolen = newest(folder).read_bytes()[first:second]
    offset = stream.append("t", [Record("forged", stolen, 0)])
    add(stream, "c")
    assert [r.key for r in stream.read("t", after=offset + 60)] == ["c"]
    assert keys(stream) == ["a", "b", "forged", "c"]


def test_who_waits_for_a_lock_is_told_after_a_while(opened, folder, monkeypatch):
    from headrace.engines.local import appending

    monkeypatch.setattr(appending, "_BUSY_S", 0.05)
    stream = opened()
    add(stream, "a")
    code = "import fcntl, sys; f = open(sys.argv[1], 'rb'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(newest(folder))], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        holder.stdout.readline()
        with pytest.raises(Unavailable, match="locked"):
            add(stream, "b")
        holder.communicate(b"\n")
    add(stream, "c")
    assert keys(stream) == ["a", "c"]


def test_writers_in_several_processes_go_on_to_new_segments_together(opened, folder, tmp_path):
    code = (
        "import sys; from pathlib import Path; from headrace.engines.local.appending import Roll;"
        "from headrace.engines.local.stream import LocalStream; from headrace.storage.stream import Record;"
        "s = LocalStream(Path(sys.argv[1]), Roll(4096));"
        "[s.append('t', [Record(f'{sys.argv[2]}.{n}', bytes(300), 0)]) for n in range(200)]"
    )
    others = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name]) for name in "ab"]
    stream, done = opened(Roll(4096)), threading.Event()
    for number in range(200):
        stream.append("t", [Record(f"c.{number}", bytes(300), 0)])
    assert [other.wait(60) for other in others] == [0, 0]
    done.set()
    found = stream.read("t", limit=1000)
    for name in "abc":
        assert [r.key for r in found if r.key.startswith(name)] == [f"{name}.{n}" for n in range(200)]
    assert [stream.find("t", r.key) for r in found[::50]] == [[r] for r in found[::50]]
    assert len(bases(folder)) > 40
