"""``headrace.conformance.online`` on SQLite."""

import fcntl
import threading
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
