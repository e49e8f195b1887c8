"""What every Online features engine must do."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from headrace.errors import NameRefused, NotFound, UsageError
from headrace.features.online import Cells, Key, OnlineFeatures
from headrace.features.view import FeatureView

VIEW = FeatureView(
    "orders", "a" * 64, {"customer": "string"}, {"spent": "float64", "bought": "int64"}, 3, "sales@1", "d1"
)
ROWS: list[tuple[Key, Cells]] = [(("ada",), (0.25, 12)), (("bob",), (None, 7)), (("Łódź 😀",), (1e300, -(2**62)))]
_MANY = 5000
_READS, _VERSIONS = 300, 4
_SEEN_S, _AGAIN_S = 5.0, 0.001  # within 100 ms is due; a busy machine may hold this process up

_DIES_WRITING = """
import os, signal
from headrace.features.view import FeatureView
{program}
def rows():
    for number in range(20000):
        yield (f"e{{number}}",), (2.0, 2)
    print("half", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    yield ("never",), (2.0, 2)
view = FeatureView("orders", "b" * 64, {{"customer": "string"}}, {{"spent": "float64", "bought": "int64"}}, 20001)
online.write(view, rows())
"""


class OnlineSuite:
    """Subclass it; provide ``reopen`` (opens the same store each time) and ``program`` (code that binds ``online``)."""

    @pytest.fixture
    def reopen(self) -> Callable[[], OnlineFeatures]:
        """Opens the engine under test on the same store, empty at first."""
        raise NotImplementedError

    @pytest.fixture
    def program(self) -> str:
        """Python that opens the same store as ``online``, in another process."""
        raise NotImplementedError

    @pytest.fixture
    def online(self, reopen: Callable[[], OnlineFeatures]) -> Iterator[OnlineFeatures]:
        """The engine under test."""
        opened = reopen()
        yield opened
        opened.close()

    def test_what_was_written_is_read(self, online: OnlineFeatures) -> None:
        """Rows come in the order of the keys, a key may come twice, and an unknown entity has none."""
        online.write(VIEW, iter(ROWS))
        keys = [("bob",), ("nobody",), ("ada",), ("bob",), ("Łódź 😀",)]
        found = online.read("orders", keys)
        assert found.view == VIEW
        assert list(found.rows) == [(None, 7), None, (0.25, 12), (None, 7), (1e300, -(2**62))]
        assert list(online.read("orders", [("ada",)]).rows) == [(0.25, 12)]

    def test_no_keys_say_which_version_is_there(self, online: OnlineFeatures) -> None:
        """The way to look without an entity."""
        online.write(VIEW, iter(ROWS))
        assert online.read("orders", ()).view == VIEW
        assert list(online.read("orders", ()).rows) == []

    def test_an_unknown_view(self, online: OnlineFeatures) -> None:
        """It is not found, and its name must be one."""
        with pytest.raises(NotFound, match="nothing"):
            online.read("nothing", [("a",)])
        with pytest.raises(NameRefused):
            online.read("../nothing", [("a",)])
        with pytest.raises(NameRefused):
            online.write(replace(VIEW, name="../nothing"), iter(ROWS))

    def test_what_is_at_hand_is_what_is_read(self, online: OnlineFeatures) -> None:
        """However often it was read: all of it, of the version that is there, or None; and nothing is raised."""
        assert online.at_hand("orders", [("ada",)]) is None
        assert online.at_hand("../nothing", [("ada",)]) is None
        online.write(VIEW, iter(ROWS))
        keys = [("bob",), ("nobody",), ("ada",)]
        for _ in range(_READS):
            due = online.read("orders", keys)
            assert online.at_hand("orders", keys) in (None, due)
            assert online.at_hand("orders", keys[1:2]) in (None, replace(due, rows=(None,)))
        online.write(replace(VIEW, version="b" * 64, rows=0), iter([]))
        assert online.read("orders", keys).rows == [None] * 3
        assert online.at_hand("orders", keys) in (None, online.read("orders", keys))

    def test_keys_of_several_columns_and_types(self, online: OnlineFeatures) -> None:
        """``1``, ``"1"`` and ``True`` are three entities, and the order of a key's parts counts."""
        view = replace(VIEW, keys={"a": "string", "b": "int64", "c": "bool"}, columns={"n": "int64"}, rows=4)
        keys: list[Key] = [("1", 1, True), ("1", 1, False), ("1", 0, True), ("", -1, True)]
        online.write(view, ((key, (number,)) for number, key in enumerate(keys)))
        assert [row and row[0] for row in online.read("orders", [*keys, ("1", 2, True)]).rows] == [0, 1, 2, 3, None]

    def test_types_of_features(self, online: OnlineFeatures) -> None:
        """Text, truth, whole numbers and floats come back as they were, to the last bit."""
        cells = ("", "ä\n", True, False, 0, -(2**63), 2**63 - 1, 0.1, 5e-324, None)
        view = replace(VIEW, columns={f"c{n}": "string" for n in range(len(cells))}, rows=1)
        online.write(view, iter([(("ada",), cells)]))
        found = online.read("orders", [("ada",)]).rows[0]
        assert found == cells
        assert list(map(type, found)) == list(map(type, cells))

    def test_many_keys_at_once(self, online: OnlineFeatures) -> None:
        """As many as a request may have rows, and more than one statement takes."""
        online.write(replace(VIEW, rows=_MANY), (((f"e{n}",), (float(n), n)) for n in range(_MANY)))
        found = online.read("orders", [(f"e{n}",) for n in range(0, 2 * _MANY, 2)])
        assert [row and row[1] for row in found.rows] == [n if n < _MANY else None for n in range(0, 2 * _MANY, 2)]

    def test_a_new_version_takes_the_place_of_the_old(self, online: OnlineFeatures) -> None:
        """Entities that it lacks are gone, and its columns may be others."""
        online.write(VIEW, iter(ROWS))
        new = replace(VIEW, version="b" * 64, columns={"spent": "float64"}, rows=1)
        online.write(new, iter([(("ada",), (0.5,))]))
        found = online.read("orders", [("ada",), ("bob",)])
        assert found.view == new
        assert list(found.rows) == [(0.5,), None]

    def test_views_are_apart(self, online: OnlineFeatures) -> None:
        """One does not see, or end, the entities of another."""
        online.write(VIEW, iter(ROWS))
        online.write(replace(VIEW, name="other"), iter([(("ada",), (9.0, 9))]))
        assert list(online.read("orders", [("ada",)]).rows) == [(0.25, 12)]
        assert list(online.read("other", [("ada",), ("bob",)]).rows) == [(9.0, 9), None]

    def test_it_lasts(self, online: OnlineFeatures, reopen: Callable[[], OnlineFeatures]) -> None:
        """Another one that opens the store reads it, and sees what the first writes later."""
        online.write(VIEW, iter(ROWS))
        other = reopen()
        assert list(other.read("orders", [("ada",)]).rows) == [(0.25, 12)]
        online.write(replace(VIEW, version="b" * 64), iter([(("ada",), (0.75, 1))]))
        until = time.monotonic() + _SEEN_S
        while list(other.read("orders", [("ada",)]).rows) != [(0.75, 1)]:
            assert time.monotonic() < until
            time.sleep(_AGAIN_S)
        other.close()

    def test_an_entity_that_comes_twice_is_refused(self, online: OnlineFeatures) -> None:
        """The version before stays."""
        online.write(VIEW, iter(ROWS))
        with pytest.raises(UsageError, match="twice"):
            online.write(replace(VIEW, version="b" * 64), iter([*ROWS, ROWS[0]]))
        assert online.read("orders", ()).view == VIEW

    def test_rows_that_fail_leave_the_version_before(self, online: OnlineFeatures) -> None:
        """Whatever raises while rows are made is raised, and nothing of them is kept."""

        def rows() -> Iterator[tuple[Key, Cells]]:
            yield ("ada",), (9.0, 9)
            raise LookupError("no more")

        online.write(VIEW, iter(ROWS))
        with pytest.raises(LookupError, match="no more"):
            online.write(replace(VIEW, version="b" * 64), rows())
        assert list(online.read("orders", [("ada",)]).rows) == [(0.25, 12)]
        online.write(replace(VIEW, version="c" * 64), iter([(("ada",), (1.0, 1))]))
        assert list(online.read("orders", [("ada",)]).rows) == [(1.0, 1)]

    def test_readers_never_see_a_mix(self, online: OnlineFeatures, reopen: Callable[[], OnlineFeatures]) -> None:
        """While a view is written again and again, all rows of a read are of the version that it says."""
        entities: list[Key] = [(f"e{n}",) for n in range(50)]
        stop, writer_failed = threading.Event(), []

        def write() -> None:
            try:
                number = 0
                while not stop.is_set():
                    number += 1
                    online.write(
                        replace(VIEW, version=f"{number:064x}", rows=50),
                        ((e, (float(number), number)) for e in entities),
                    )
            except BaseException as error:  # noqa: BLE001 - told by the test
                writer_failed.append(error)

        online.write(replace(VIEW, version=f"{0:064x}"), ((e, (0.0, 0)) for e in entities))
        writer = threading.Thread(target=write)
        reader = reopen()
        writer.start()
        try:
            seen: set[str] = set()
            reads, until = 0, time.monotonic() + _SEEN_S * _VERSIONS
            while reads < _READS or len(seen) < _VERSIONS:
                assert time.monotonic() < until
                reads += 1
                found = reader.read("orders", entities)
                seen.add(found.view.version)
                assert {row and row[1] for row in found.rows} == {int(found.view.version, 16)}
        finally:
            stop.set()
            writer.join()
            reader.close()
        assert not writer_failed

    def test_a_writer_that_is_killed_changes_nothing(self, online: OnlineFeatures, program: str) -> None:
        """After kill -9 in the middle of a version: the one before is read, and the next one can be written."""
        online.write(VIEW, iter(ROWS))
        died = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", _DIES_WRITING.format(program=program)], capture_output=True, check=False, timeout=60
        )
        assert (died.returncode, died.stdout.strip()) == (-signal.SIGKILL, b"half"), died.stderr
        found = online.read("orders", [("ada",), ("e1",)])
        assert (found.view, list(found.rows)) == (VIEW, [(0.25, 12), None])
        online.write(replace(VIEW, version="c" * 64), iter([(("ada",), (1.0, 1))]))
        assert list(online.read("orders", [("ada",), ("e1",)]).rows) == [(1.0, 1), None]
