"""What one process does to a log between two steps of another."""

import os
import resource
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from headrace.engines.local import appending, reading, segment
from headrace.engines.local.appending import Roll
from headrace.engines.local.cursors import remember
from headrace.engines.local.frames import HEADER_BYTES
from headrace.engines.local.segment import HEAD_BYTES, Segment, bases, path_of
from headrace.errors import Unavailable
from headrace.storage.stream import Bounds, Record, newest, sample

EACH_ITS_OWN = Roll(most_bytes=1)
ROLL = Roll()


@pytest.fixture
def meanwhile(monkeypatch):
    """Has something done once, before or after the next call of a function."""

    def arrange(owner, name, do, *, before=True):
        real, todo = getattr(owner, name), [do]

        def instead(*about, **named):
            if before and todo:
                todo.pop()()
            found = real(*about, **named)
            if todo:
                todo.pop()()
            return found

        monkeypatch.setattr(owner, name, instead)

    return arrange


def add(stream, *keys, value=b"v", at_ms=0):
    return [stream.append("t", [Record(key, value, at_ms)]) for key in keys]


def keys(stream, after=-1):
    return [record.key for record in stream.read("t", after=after)]


def refuse(*_):
    raise OSError(24, "Too many open files")


def test_what_is_added_to_a_segment_just_before_it_is_closed_is_read(opened, meanwhile):
    stream, reader = opened(), opened()
    add(stream, "a")
    assert keys(reader) == ["a"]
    one = opened(EACH_ITS_OWN)
    meanwhile(reading, "bases", lambda: add(stream, "b") + add(one, "c"))
    assert keys(reader) == ["a", "b", "c"]


def test_a_segment_that_a_listing_lacks_is_not_passed_over(opened, monkeypatch):
    """Where a folder is large, one listing shows some of what is made meanwhile, in no order."""
    stream, reader = opened(EACH_ITS_OWN), opened()
    add(stream, "a")
    assert keys(reader) == ["a"]
    add(stream, "b", "c")
    real, listed = reading.bases, []

    def lacking(folder):
        listed.append(real(folder))
        return listed[-1] if len(listed) > 1 else [listed[-1][0], listed[-1][2]]

    monkeypatch.setattr(reading, "bases", lacking)
    assert keys(reader) == ["a", "b", "c"]
    assert len(listed) == 2 + 1
    assert keys(reader) == ["a", "b", "c"]
    assert len(listed) == 2 + 1 + 1


@pytest.mark.parametrize("begins", [2 << 30, 5 << 40])
def test_the_newest_of_a_log_that_grew_for_years_is_found(opened, folder, begins):
    folder.mkdir()
    path_of(folder, begins).touch()
    stream = opened()
    add(stream, "a", "b")
    assert newest(stream, "t").key == "b"
    assert sample(stream, "t") > 0
    assert stream.read("t", after=1 << 60) == []


@pytest.mark.parametrize("left", range(4))
def test_a_log_goes_on_once_files_can_be_opened_again(opened, monkeypatch, left):
    stream, other = opened(EACH_ITS_OWN), opened()
    add(stream, "a")
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_now = os.open(os.devnull, os.O_RDONLY)
    os.close(open_now)
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + left, usual[1]))
    try:
        with suppress(Unavailable):
            add(stream, "asked for")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)
    monkeypatch.setattr(appending, "_BUSY_S", 0.05)
    add(other, "b")
    add(stream, "c")
    assert [key for key in keys(stream) if key != "asked for"] == ["a", "b", "c"]


def test_who_cannot_begin_a_log_keeps_nobody_else_from_it(opened, monkeypatch):
    stream, other = opened(), opened()
    with monkeypatch.context() as full:
        full.setattr(Segment, "begin", refuse)
        with pytest.raises(Unavailable):
            add(stream, "lost")
    monkeypatch.setattr(appending, "_BUSY_S", 0.05)
    add(other, "b")
    assert keys(stream) == ["b"]


def test_a_reader_that_only_finds_goes_on_where_all_it_knew_was_forgotten(opened):
    stream, reader = opened(EACH_ITS_OWN), opened()
    add(stream, "a")
    assert keys(reader) == ["a"]
    add(stream, "b")
    stream.append("t", [], keep=Bounds(before_ms=5))
    assert [[r.key for r in reader.find("t", key)] for key in "ab"] == [[], ["b"]]


@pytest.mark.parametrize("size", [100, 300_000])
def test_a_frame_that_is_just_being_written_is_no_damage(opened, folder, meanwhile, size):
    stream, reader = opened(), opened()
    add(stream, "a")
    before = path_of(folder, 0).stat().st_size
    add(stream, "b", value=bytes(size))
    add(stream, "c")
    whole = path_of(folder, 0).read_bytes()
    os.truncate(path_of(folder, 0), before + size // 2)
    meanwhile(segment.Segment, "damage", lambda: path_of(folder, 0).write_bytes(whole))
    assert keys(reader, HEAD_BYTES) == []
    assert keys(reader, HEAD_BYTES) == ["b", "c"]


def test_a_segment_that_is_forgotten_before_it_is_opened_is_not_made_anew(opened, folder, meanwhile):
    stream, other = opened(EACH_ITS_OWN), opened()
    add(stream, "a")
    offset = newest(stream, "t").offset

    def all_goes_on():
        add(stream, "b")
        stream.append("t", [], keep=Bounds(before_ms=5))

    meanwhile(appending, "bases", all_goes_on, before=False)
    add(other, "c")
    assert keys(stream, offset) == ["b", "c"]
    assert keys(other) == ["b", "c"]


def test_a_segment_that_is_forgotten_leaves_no_file_of_keys(opened, folder):
    stream, idle = opened(EACH_ITS_OWN), opened()
    add(idle, "a")
    add(stream, "b", "c")
    stream.append("t", [], keep=Bounds(before_ms=5))
    add(idle, "d")
    assert [int(file.stem) for file in folder.glob("*.keys")] == bases(folder)[:-1]


@pytest.mark.parametrize("deleted", ["files", "folder"])
def test_a_log_that_is_deleted_while_it_is_written_goes_on(opened, folder, deleted):
    stream, other = opened(), opened()
    before = add(stream, "a") + add(other, "b")
    assert len(other.find("t", "b")) == 1
    shutil.rmtree(folder)
    if deleted == "files":
        folder.mkdir()
    after = add(stream, "c") + add(other, "d")
    assert keys(opened()) == keys(other) == ["c", "d"]
    assert [len(other.find("t", key)) for key in "bcd"] == [0, 1, 1]
    assert after[0] > before[1]


def test_a_log_that_was_deleted_is_one_again_where_another_began_it_anew(opened, folder):
    stream, other, third = opened(EACH_ITS_OWN), opened(), opened()
    add(other, "a")
    add(stream, "b")
    shutil.rmtree(folder)
    add(third, "c")
    add(stream, "d")
    add(other, "e")
    assert keys(third) == ["c", "d", "e"]
    assert [len(third.find("t", key)) for key in "abcde"] == [0, 0, 1, 1, 1]


def test_a_frame_that_became_whole_while_it_was_looked_for_closes_nothing(opened, folder, meanwhile, monkeypatch):
    stream, reader = opened(), opened()
    add(stream, "a")
    before = path_of(folder, 0).stat().st_size
    add(stream, "b", value=bytes(100))
    whole = path_of(folder, 0).read_bytes()
    os.truncate(path_of(folder, 0), before + 50)
    meanwhile(segment.Segment, "next_of", lambda: path_of(folder, 0).write_bytes(whole))
    monkeypatch.setattr(reading, "_SEARCHES", 0)
    assert len(reader.find("t", "b")) == 1
    monkeypatch.setattr(reading, "bases", refuse)
    assert len(reader.find("t", "b")) == 1


@pytest.mark.parametrize("failed", range(2, 6))
def test_keys_are_found_after_a_disk_failed_once(opened, monkeypatch, failed):
    stream, other = opened(), opened(EACH_ITS_OWN)
    other.append("t", [])
    add(stream, *"abc")
    real, reads = os.pread, []

    def failing(handle, size, start):
        reads.append(start)
        if len(reads) == failed:
            raise OSError(5, "Input/output error")
        return real(handle, size, start)

    monkeypatch.setattr(segment, "_WINDOW", 40)
    with monkeypatch.context() as disk:
        disk.setattr(os, "pread", failing)
        with pytest.raises(Unavailable):
            add(other, "lost")
    add(other, "d")
    assert [len(opened().find("t", key)) for key in "abcd"] == [1, 1, 1, 1]


@pytest.mark.parametrize("left", [b"", bytes(5), b"\n"])
def test_a_cursor_that_a_power_cut_took_begins_anew(opened, folder, left):
    stream = opened()
    stream.commit("t", "reader", 5)
    (folder / "reader.cursor").write_bytes(left)
    assert stream.commit("t", "reader") == -1


def test_a_cursor_that_cannot_be_kept_leaves_no_file(opened, folder):
    (folder / "reader.cursor").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        remember(folder, "reader", 5)
    assert [file.name for file in folder.iterdir()] == ["reader.cursor"]


def test_a_frame_that_the_disk_may_lack_ends_its_segment(opened, folder, monkeypatch):
    """What a failed sync left is unknown: after the next one, which succeeds, a power cut may show a hole there."""
    stream, other, reader = opened(), opened(), opened()
    monkeypatch.setattr(reading, "_SEARCHES", 0)
    before = add(stream, "a") + add(other, "b")
    place = path_of(folder, 0).stat().st_size

    def failing(handle):
        assert len(reader.find("t", "failed")) == 1  # who reads may have seen it
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fdatasync", failing)
        with pytest.raises(Unavailable):
            stream.append("t", [Record("failed", b"v" * 100, 0)], power_safe=True)
    after = [one.append("t", [Record(key, b"v", 0)], power_safe=True) for one, key in ((other, "c"), (stream, "d"))]
    assert sorted(before + after) == before + after
    assert [len(reader.find("t", key)) for key in ("b", "failed", "c", "d")] == [1, 0, 1, 1]
    with path_of(folder, 0).open("r+b") as file:
        file.seek(place)
        file.write(bytes(100))
    assert keys(opened()) == keys(reader) == ["a", "b", "c", "d"]
    assert keys(reader, place) == ["c", "d"]
    assert len(bases(folder)) == 2


def test_a_segment_that_cannot_be_synced_nor_cut_is_not_written_on(opened, folder, monkeypatch):
    stream = opened()
    add(stream, "a")
    with monkeypatch.context() as disk:
        disk.setattr(os, "fdatasync", refuse)
        disk.setattr(os, "ftruncate", refuse)
        with pytest.raises(Unavailable):
            stream.append("t", [Record("b", b"v", 0)], power_safe=True)
    whole = path_of(folder, 0).read_bytes()
    stream.append("t", [Record("c", b"v", 0)], power_safe=True)
    assert path_of(folder, 0).read_bytes() == whole
    assert keys(opened()) == ["a", "b", "c"]


def test_a_disk_that_cannot_be_synced_for_long_leaves_few_files_and_offsets_go_on(opened, folder, monkeypatch):
    stream, other = opened(), opened()
    (first,) = add(stream, "a")
    with monkeypatch.context() as disk:
        disk.setattr(os, "fdatasync", refuse)
        for one in [stream, other] * 20:
            with pytest.raises(Unavailable):
                one.append("t", [Record("lost", b"v", 0)], power_safe=True)
            assert len(list(folder.iterdir())) <= 2 * 3
    last = stream.append("t", [Record("b", b"v", 0)], power_safe=True)
    assert last > first + 40 * HEADER_BYTES
    assert keys(opened()) == keys(other) == ["a", "b"]
    assert [len(opened().find("t", key)) for key in ("a", "lost", "b")] == [1, 0, 1]


def test_a_log_that_was_begun_anew_loses_nothing_to_whose_disk_had_failed(opened, folder, monkeypatch):
    stream = opened()
    with monkeypatch.context() as disk:
        disk.setattr(os, "fdatasync", refuse)
        with pytest.raises(Unavailable):
            stream.append("t", [Record("lost", b"v", 0)], power_safe=True)
    shutil.rmtree(folder)
    for one, key in ((opened(), "a"), (stream, "b")):
        one.append("t", [Record(key, b"v", 0)], power_safe=True)
    assert keys(opened()) == ["a", "b"]


def test_the_names_above_a_log_are_synced_whoever_made_them(opened, folder, monkeypatch):
    """Who made a folder may have died before it was synced."""
    folder.mkdir()
    synced, real = [], os.fsync

    def noting(handle):
        synced.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        real(handle)

    monkeypatch.setattr(os, "fsync", noting)
    stream = opened()
    add(stream, "a")
    assert synced == []
    stream.append("t", [Record("b", b"v", 0)], power_safe=True)
    assert [str(folder), *map(str, folder.parents[:2])] == synced[:3]
    stream.append("t", [Record("c", b"v", 0)], power_safe=True)
    assert len(synced) == len(set(synced))
