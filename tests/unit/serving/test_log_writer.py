import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from server_process import until

from headrace.engines.local import appending
from headrace.engines.local.stream import LocalStream
from headrace.errors import SettingsError, Unavailable
from headrace.serving import log_writer
from headrace.serving.log_writer import LogWriter
from headrace.serving.retention import Keep


def direct(call, *args):
    call(*args)


class Counting:
    """Remembers the groups that were committed, and waits where told to."""

    def __init__(self, stream):
        self.stream, self.groups, self.gate = stream, [], threading.Event()
        self.gate.set()

    def append(self, topic, records, *, power_safe=False, keep=None):
        self.gate.wait(5)
        if records:
            self.groups.append((len(records), power_safe))
        return self.stream.append(topic, records, power_safe=power_safe, keep=keep)


@pytest.fixture
def stream(tmp_path):
    opened = LocalStream(tmp_path)
    yield opened
    opened.close()


def test_records_that_come_during_a_commit_share_the_next(stream):
    counting = Counting(stream)
    writer = LogWriter(counting, "t", direct)
    counting.gate.clear()
    done = []
    writer.add("first", b"1", 1, done.append)
    for number in range(500):
        writer.add(str(number), b"x", number, done.append)
    counting.gate.set()
    writer.close()
    assert done == [True] * 501
    assert len(counting.groups) <= 3
    assert [r.key for r in stream.read("t", limit=2)] == ["first", "0"]
    assert len(stream.read("t", limit=10_000)) == 501


def test_large_records_are_written_a_few_at_a_time(stream, monkeypatch):
    """All together they are more than a log takes at once."""
    monkeypatch.setattr(appending, "MOST_BYTES", 4 << 20)
    monkeypatch.setattr(log_writer, "_GROUP_BYTES", 2 << 20)
    counting = Counting(stream)
    writer = LogWriter(counting, "t", direct)
    counting.gate.clear()
    done = []
    for number in range(10):
        writer.add(str(number), bytes(1 << 20), number, done.append)
    counting.gate.set()
    writer.close()
    assert done == [True] * 10
    assert max(count for count, _ in counting.groups) == 2
    assert [r.key for r in stream.read("t")] == [str(number) for number in range(10)]


class Turns:
    """An event loop whose turns are taken by hand."""

    def __init__(self):
        self.due = []

    def soon(self, call, *args):
        self.due.append((call, args))

    def take(self):
        due, self.due = self.due, []
        for call, args in due:
            call(*args)


def test_a_group_gathers_while_each_turn_of_the_loop_brings_more(stream):
    counting, turns, told = Counting(stream), Turns(), threading.Event()
    writer = LogWriter(counting, "t", direct, soon=turns.soon)
    for number in range(3):
        writer.add(str(number), b"", 0)
        writer.add(f"and {number}", b"", 0, lambda done: told.set())
        turns.take()
        assert counting.groups == []
    turns.take()
    assert told.wait(5)
    writer.close()
    assert counting.groups == [(6, False)]
    assert turns.due == []


def test_a_group_waits_no_longer_than_it_may_however_much_comes(stream, monkeypatch):
    monkeypatch.setattr(log_writer, "_GATHER_S", 0)
    counting, turns, told = Counting(stream), Turns(), threading.Event()
    writer = LogWriter(counting, "t", direct, soon=turns.soon)
    for number in range(3):
        writer.add(str(number), b"", 0, lambda done: told.set())
    turns.take()
    assert told.wait(5)
    writer.close()


def test_closing_writes_what_is_queued(stream):
    writer = LogWriter(stream, "t", direct)
    for number in range(10_000):
        writer.add(str(number), b"x", number)
    writer.close()
    assert [r.key for r in stream.read("t", limit=20_000)] == [str(n) for n in range(10_000)]


def test_power_safe_may_be_switched(stream):
    counting = Counting(stream)
    writer = LogWriter(counting, "t", direct, power_safe=True)
    done = threading.Event()
    writer.add("a", b"", 0, lambda ok: done.set())
    assert done.wait(5)
    writer.power_safe = False
    writer.add("b", b"", 0)
    writer.close()
    assert counting.groups == [(1, True), (1, False)]


class Failing:
    """A stream that cannot be written until it is mended."""

    def __init__(self, stream, error):
        self.stream, self.error = stream, error

    def append(self, topic, records, **how):
        if self.error is not None:
            raise self.error
        return self.stream.append(topic, records, **how)


def told(writer, key):
    """What is told about a record, once its fate is known."""
    heard, came = [], threading.Event()
    writer.add(key, b"", 0, lambda ok: heard.append(ok) or came.set())
    assert came.wait(5)
    return heard


@pytest.mark.parametrize(
    "error", [Unavailable("no space left"), OSError(28, "no space left"), MemoryError("no space left")]
)
def test_what_cannot_be_written_is_told_and_said_once_and_then_it_goes_on(stream, capsys, error):
    failing = Failing(stream, error)
    writer = LogWriter(failing, "t", direct)
    for key in ("lost", "too"):
        assert told(writer, key) == [False]
    assert "no space left" in writer.trouble
    failing.error = None
    assert told(writer, "kept") == [True]
    writer.close()
    assert (writer.failed, writer.trouble) == (2, "")
    assert [r.key for r in stream.read("t")] == ["kept"]
    first, second = capsys.readouterr().err.splitlines()
    assert "no space left" in first
    assert "2 records were lost" in second


def test_what_it_says_may_lie_on_the_disk_that_is_full(stream, monkeypatch):
    with suppress(OSError), Path("/dev/full").open("w", buffering=1) as full:  # closing it fails
        monkeypatch.setattr(sys, "stderr", full)
        failing = Failing(stream, Unavailable("no space left"))
        writer = LogWriter(failing, "t", direct)
        assert told(writer, "lost") == [False]
        failing.error = None
        assert told(writer, "kept") == [True]
        writer.close()
    assert [r.key for r in stream.read("t")] == ["kept"]


def test_a_commit_that_hangs_keeps_nobody_waiting_and_is_made_in_the_end(stream, capsys):
    counting, heard = Counting(stream), []
    writer = LogWriter(counting, "t", direct)
    counting.gate.clear()
    writer.add("begun", b"", 0, heard.append)
    until(lambda: writer._held)
    writer.add("queued", b"", 0, heard.append)
    writer.check(time.monotonic() + log_writer._HANGS_S / 2)
    assert (heard, writer.trouble) == ([], "")
    later = time.monotonic() + 2 * log_writer._HANGS_S
    writer.check(later)
    assert heard == [False, False]
    assert "more than 1 s" in writer.trouble
    writer.add("after", b"", 0, heard.append)
    writer.check(later)
    counting.gate.set()
    until(lambda: not writer.trouble)
    writer.close()
    assert heard == [False] * 3
    assert [r.key for r in stream.read("t")] == ["begun", "queued", "after"]
    assert writer.failed == 0
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_log_that_hangs_when_it_is_first_reached_keeps_nobody_waiting(stream):
    counting, heard = Counting(stream), []
    counting.gate.clear()
    writer = LogWriter(counting, "t", direct)
    until(lambda: writer._begun)
    writer.add("early", b"", 0, heard.append)
    assert not writer.opened
    writer.check(time.monotonic() + 2 * log_writer._HANGS_S)
    assert writer.opened  # whoever waited for that waits no longer
    assert (heard, "more than 1 s" in writer.trouble) == ([False], True)
    counting.gate.set()
    writer.close()
    assert [r.key for r in stream.read("t")] == ["early"]
    assert (writer.trouble, writer.failed) == ("", 0)


def test_a_log_is_open_once_it_was_reached(stream):
    counting = Counting(stream)
    counting.gate.clear()
    writer = LogWriter(counting, "t", direct)
    assert not writer.opened
    counting.gate.set()
    until(lambda: writer.opened)
    assert writer.trouble == ""
    writer.close()


@pytest.mark.parametrize(("bound", "most"), [("_BACKLOG", 10), ("_BACKLOG_BYTES", 10_000)])
def test_a_hanging_disk_does_not_fill_the_memory(stream, monkeypatch, bound, most):
    monkeypatch.setattr(log_writer, bound, most)
    counting = Counting(stream)
    counting.gate.clear()
    writer = LogWriter(counting, "t", direct)
    told = []
    for number in range(30):
        writer.add(str(number), b"x" * 1_000, 0, told.append)
    assert told.count(False) >= 17
    counting.gate.set()
    writer.close()
    assert told.count(True) + told.count(False) == 30
    assert writer.failed == told.count(False)


def test_what_is_old_is_forgotten_while_records_come(stream):
    writer = LogWriter(stream, "t", direct)
    writer.keep = Keep(days=1)
    now_ms = time.time_ns() // 1_000_000
    for number in range(100):
        writer.add(f"old {number}", b"x", now_ms - 2 * 24 * 3600 * 1000)
    until(lambda: len(stream.read("t")) == 100)
    for number in range(100):
        writer.add(f"new {number}", b"x", now_ms)
    writer.close()
    # What the first commits forgot is gone; the last of them looks again.
    writer = LogWriter(stream, "t", direct)
    writer.keep = Keep(days=1)
    writer.add("last", b"x", now_ms)
    writer.close()
    assert [r.key for r in stream.read("t")] == [*(f"new {n}" for n in range(100)), "last"]


@pytest.mark.parametrize("wrong", [-1, "30", True, float("nan"), float("inf")])
def test_what_is_no_span_is_refused(wrong):
    with pytest.raises(SettingsError, match="keep_days"):
        Keep(days=wrong)
