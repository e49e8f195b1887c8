import sqlite3

import pytest

from headrace.engines.sqlite.stream import SqliteStream
from headrace.storage.stream import Bounds, Record


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
