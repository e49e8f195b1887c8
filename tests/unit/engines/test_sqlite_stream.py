import sqlite3
import threading

import pytest

from headrace.engines.sqlite.stream import SqliteStream
from headrace.storage.stream import Bounds, Record


def test_a_log_that_somebody_else_is_making_is_waited_for(tmp_path):
    other = sqlite3.connect(tmp_path / "t.db", isolation_level=None)
    other.executescript("CREATE TABLE begun (it); BEGIN; SELECT * FROM begun; INSERT INTO begun VALUES (1);")
    stream = SqliteStream(tmp_path)
    writer = threading.Thread(target=lambda: stream.append("t", [Record("k", b"", 1)]))
    writer.start()
    writer.join(0.1)
    assert writer.is_alive()
    other.execute("COMMIT")
    other.close()
    writer.join(5)
    assert [record.key for record in stream.read("t")] == ["k"]
    stream.close()


def steps_to_forget(folder, count, monkeypatch):
    """Hundreds of steps of SQLite's machine that one append takes which forgets the oldest of ``count`` records."""
    opened, steps, connect = [], [], sqlite3.connect

    def kept(*args, **given):
        opened.append(connect(*args, **given))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", kept)
    stream = SqliteStream(folder)
    stream.append("t", [Record(str(number), b"", 1) for number in range(count)])
    for db in opened:
        db.set_progress_handler(lambda: steps.append(1), 100)
    stream.append("t", [Record("new", b"", 100)], keep=Bounds(50, 0))
    (left,) = opened[0].execute("SELECT count(*) FROM records").fetchone()
    stream.close()
    monkeypatch.undo()
    return len(steps), count + 1 - left


def test_forgetting_takes_no_longer_when_more_is_too_old(tmp_path, monkeypatch):
    few, forgotten = steps_to_forget(tmp_path / "few", 10_000, monkeypatch)
    many, as_many = steps_to_forget(tmp_path / "many", 60_000, monkeypatch)
    assert forgotten == as_many == 5000
    assert many == pytest.approx(few, rel=0.2)
