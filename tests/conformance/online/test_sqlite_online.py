"""``headrace.conformance.online`` on SQLite."""

import fcntl
import os
import threading
import time
from dataclasses import replace

import pytest

from headrace.conformance.online import ROWS, VIEW, OnlineSuite
from headrace.engines.sqlite import online as sqlite_online
from headrace.engines.sqlite.online import open_online
from headrace.errors import Conflict, IntegrityError, Unavailable
from headrace.settings import Settings


class TestSqliteOnline(OnlineSuite):
    @pytest.fixture
    def reopen(self, tmp_path):
        return lambda: open_online(Settings(root=tmp_path), "sqlite")

    @pytest.fixture
    def program(self, tmp_path):
        return (
            "from pathlib import Path\nfrom headrace.engines.sqlite.online import open_online\n"
            "from headrace.settings import Settings\n"
            f"online = open_online(Settings(root=Path({str(tmp_path)!r})), 'sqlite')"
        )


@pytest.fixture
def online(tmp_path):
    opened = open_online(Settings(root=tmp_path), "sqlite:features")
    yield opened
    opened.close()


def test_a_uri_names_the_folder(online, tmp_path):
    online.write(VIEW, iter(ROWS))
    assert (tmp_path / "features" / "orders.sqlite").is_file()


def test_a_read_that_hangs_does_not_hold_up_the_end(tmp_path, monkeypatch):
    """A disk that is away keeps its reader; the process that ends waits for neither."""
    online = open_online(Settings(root=tmp_path), "sqlite")
    online.write(VIEW, iter(ROWS))
    go, entered = threading.Event(), threading.Event()

    def hang(version, keys):
        entered.set()
        assert go.wait(20)

    monkeypatch.setattr(sqlite_online._Version, "read", hang)
    reader = threading.Thread(target=online.read, args=(VIEW.name, [ROWS[0][0]]))
    reader.start()
    assert entered.wait(10)
    ending = threading.Thread(target=online.close)
    ending.start()
    try:
        ending.join(5)
        assert not ending.is_alive()
    finally:
        go.set()
        reader.join(10)
        ending.join(10)


@pytest.fixture
def now(monkeypatch):
    moments = [100.0]
    monkeypatch.setattr(sqlite_online.time, "monotonic", lambda: moments[0])
    return moments


def held(online, name="orders"):
    """Read a view until it is at hand, ten seconds at most."""
    for _ in range(10_000):
        online.read(name, [("ada",)])
        if found := online.at_hand(name, [("ada",)]):
            return found
        time.sleep(0.001)
    raise AssertionError("never at hand")


def test_what_is_at_hand_needs_no_disk(online, tmp_path, now):
    """The file is emptied under it: whoever read that would find nothing."""
    online.write(VIEW, iter(ROWS))
    assert online.at_hand("orders", [("ada",)]) is None
    assert held(online) == online.read("orders", [("ada",)])
    os.truncate(tmp_path / "features" / "orders.sqlite", 0)
    keys = [("bob",), ("nobody",), ("Łódź 😀",)]
    assert online.at_hand("orders", keys).rows == [(None, 7), None, (1e300, -(2**62))]


def test_what_is_at_hand_is_told_for_a_moment_only(online, tmp_path, now):
    """Which version a name means is known by looking, and looking may hang: another thread does it."""
    online.write(VIEW, iter(ROWS))
    held(online)
    now[0] += 0.049
    assert online.at_hand("orders", [("ada",)]) is not None
    now[0] += 0.002
    assert online.at_hand("orders", [("ada",)]) is None
    online.read("orders", [("ada",)])
    assert online.at_hand("orders", [("ada",)]) is not None
    other = open_online(Settings(root=tmp_path), "sqlite:features")
    other.write(replace(VIEW, version="b" * 64), iter([(("ada",), (9.0, 9))]))
    now[0] += 0.051
    assert online.at_hand("orders", [("ada",)]) is None
    assert online.read("orders", [("ada",)]).rows[0] == (9.0, 9)
    assert held(online).rows[0] == (9.0, 9)


def test_a_view_that_is_too_large_is_never_at_hand(online, monkeypatch):
    """Nor one more, where the others fill what there is."""
    online.write(VIEW, iter(ROWS))
    online.write(replace(VIEW, name="other"), iter(ROWS))
    size = online.read("orders", ()) and online._open["orders"].size_bytes
    monkeypatch.setattr(sqlite_online, "_HELD_BYTES", size * 3 // 2)
    held(online)
    for _ in range(200):
        online.read("other", [("ada",)])
    assert online._open["other"].held_bytes == 0
    assert online.at_hand("other", [("ada",)]) is None


def test_a_damaged_row_is_not_at_hand(online, tmp_path):
    online.write(VIEW, iter(ROWS))
    path = tmp_path / "features" / "orders.sqlite"
    whole = bytearray(path.read_bytes())
    whole[whole.index(b"bob") + 6] ^= 1
    path.unlink()
    path.write_bytes(whole)
    assert held(online).rows[0] == (0.25, 12)
    assert online.at_hand("orders", [("bob",)]) is None
    with pytest.raises(IntegrityError):
        online.read("orders", [("bob",)])


def test_two_writers_of_one_view(online, tmp_path):
    online.write(VIEW, iter(ROWS))
    with (tmp_path / "features" / "orders.lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Conflict, match="being written"):
            online.write(VIEW, iter(ROWS))
        online.write(replace(VIEW, name="other"), iter(ROWS))
    online.write(VIEW, iter(ROWS))


def test_every_altered_byte_of_a_row_is_noticed(online, tmp_path):
    """Whatever bit is turned: the row is refused, as it was, or (where its key was hit) not there; never another."""
    path = tmp_path / "features" / "orders.sqlite"
    online.write(VIEW, iter(ROWS))
    whole = path.read_bytes()
    at = whole.index(b"bob")
    refused = 0
    for position in range(at - 8, at + 24):
        for bit in range(8):
            broken = bytearray(whole)
            broken[position] ^= 1 << bit
            other = tmp_path / "features" / "broken.sqlite"
            other.unlink(missing_ok=True)
            other.write_bytes(broken)
            online.close()  # it need not look at once what the name means now
            try:
                found = online.read("broken", [("bob",)]).rows[0]
            except (IntegrityError, Unavailable):
                refused += 1
            else:
                assert found in ((None, 7), None), (position, bit)
    assert refused > 50


@pytest.mark.parametrize("content", [b"", b"no database, whatever its name says" * 100])
def test_a_file_that_is_no_view_is_said_to_be_none(online, tmp_path, content):
    online.write(VIEW, iter(ROWS))
    assert online.read("orders", [("ada",)]).rows[0] == (0.25, 12)
    path = tmp_path / "features" / "orders.sqlite"
    path.unlink()
    path.write_bytes(content)
    online.close()
    for _ in range(2):
        with pytest.raises((IntegrityError, Unavailable), match="features materialize orders"):
            online.read("orders", [("ada",)])
    online.write(VIEW, iter(ROWS))
    assert online.read("orders", [("ada",)]).rows[0] == (0.25, 12)


def test_a_file_that_is_cut_off(online, tmp_path):
    many = [((f"e{n}",), (float(n), n)) for n in range(5000)]
    online.write(replace(VIEW, rows=len(many)), iter(many))
    path = tmp_path / "features" / "orders.sqlite"
    path.write_bytes(path.read_bytes()[: 64 * 1024])
    online.close()
    with pytest.raises((IntegrityError, Unavailable)):
        online.read("orders", [key for key, _ in many])
