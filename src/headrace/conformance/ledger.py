"""What every Ledger engine must do. Subclass ``LedgerSuite`` and give it a ``reopen`` fixture."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from headrace.errors import Conflict, UsageError
from headrace.storage.ledger import INLINE_LIMIT_BYTES, Fact, Ledger, latest

WRITERS, BATCHES = 4, 25
_WAIT_S = 60.0


class LedgerSuite:
    """The cases. Each engine's test subclasses this with a fixture ``reopen`` and a ``program``."""

    @pytest.fixture
    def reopen(self) -> Callable[[], Ledger]:
        """Opens one and the same ledger anew, empty at first."""
        raise NotImplementedError

    @pytest.fixture
    def program(self) -> str:
        """Python statements that bind ``ledger`` to the same ledger, for another process."""
        raise NotImplementedError

    @pytest.fixture
    def ledger(self, reopen: Callable[[], Ledger]) -> Iterator[Ledger]:
        """The engine under test."""
        opened = reopen()
        yield opened
        opened.close()

    def test_append_fills_in_position_and_time(self, ledger: Ledger) -> None:
        """Facts come back with ascending ``seq`` and a time; a given time stays."""
        first, second = ledger.append([Fact("step.finished", "a", {"n": 1}), Fact("step.finished", "b", at=12.5)])
        assert 0 < first.seq < second.seq
        assert first.at > 1e9
        assert second.at == 12.5
        assert ledger.query("step.finished") == [first, second]

    def test_nothing_is_appended_for_nothing(self, ledger: Ledger) -> None:
        """An empty batch is no error and no fact."""
        assert ledger.append([]) == []
        assert ledger.query("*") == []

    def test_bodies_survive_unchanged(self, ledger: Ledger) -> None:
        """Every JSON value comes back equal."""
        body = {"text": "Zürich ✓ \x00\n", "numbers": [1, -2.5, 1e300, 2**53], "none": None, "nested": {"a": [True]}}
        ledger.append([Fact("step.finished", "a", body)])
        assert ledger.query("step.finished")[0].body == body

    def test_query_by_kind_and_prefix(self, ledger: Ledger) -> None:
        """A trailing ``*`` matches what begins so; a kind without one only itself."""
        ledger.append([Fact(kind, "x") for kind in ("run.step", "run.started", "runs", "run", "running.x")])
        assert [f.kind for f in ledger.query("run.*")] == ["run.step", "run.started"]
        assert [f.kind for f in ledger.query("run")] == ["run"]
        assert len(ledger.query("*")) == 5

    def test_query_by_subject_position_and_count(self, ledger: Ledger) -> None:
        """``subject``, ``after`` and ``newest`` narrow, always in ascending order."""
        facts = ledger.append([Fact("alert", subject, {"n": n}) for n, subject in enumerate("ababab")])
        assert [f.body["n"] for f in ledger.query("alert", "a")] == [0, 2, 4]
        assert [f.body["n"] for f in ledger.query("alert", after=facts[3].seq)] == [4, 5]
        assert [f.body["n"] for f in ledger.query("alert", newest=2)] == [4, 5]
        assert [f.body["n"] for f in ledger.query("alert", "a", after=facts[0].seq, newest=1)] == [4]

    def test_latest(self, ledger: Ledger) -> None:
        """The newest fact of a kind about a subject, or None."""
        ledger.append([Fact("alias.moved", "wine", {"n": n}) for n in range(3)])
        found = latest(ledger, "alias.moved", "wine")
        assert found is not None
        assert found.body["n"] == 2
        assert latest(ledger, "alias.moved", "orders") is None

    def test_unique_marks_are_taken_once(self, ledger: Ledger) -> None:
        """A second fact of the kind with the same mark is a conflict; another kind's or no mark is not."""
        ledger.append([Fact("model.version", "wine", unique="wine@1")])
        with pytest.raises(Conflict) as raised:
            ledger.append([Fact("model.version", "wine", unique="wine@1")])
        assert raised.value.retryable
        ledger.append([Fact("dataset.version", "wine", unique="wine@1"), Fact("model.version", "wine")])
        ledger.append([Fact("model.version", "wine")])

    def test_a_batch_is_all_or_nothing(self, ledger: Ledger) -> None:
        """Nothing of a batch with a conflict is written."""
        ledger.append([Fact("model.version", "wine", unique="wine@1")])
        with pytest.raises(Conflict):
            ledger.append([Fact("alert", "wine"), Fact("model.version", "wine", unique="wine@1")])
        assert ledger.query("alert") == []
        ledger.append([Fact("alert", "wine")])
        assert len(ledger.query("alert")) == 1

    def test_large_bodies_are_refused(self, ledger: Ledger) -> None:
        """The limit counts encoded bytes; nothing is written."""
        ledger.append([Fact("alert", "fits", {"t": "x" * (INLINE_LIMIT_BYTES - 100)})])
        with pytest.raises(UsageError, match="too large"):
            ledger.append([Fact("alert", "ok"), Fact("alert", "over", {"t": "é" * (INLINE_LIMIT_BYTES // 2 + 1)})])
        assert [f.subject for f in ledger.query("alert")] == ["fits"]

    def test_facts_outlive_the_connection(self, reopen: Callable[[], Ledger]) -> None:
        """What was appended is there when the ledger is opened again, and positions go on."""
        first = reopen()
        (fact,) = first.append([Fact("run.started", "r1")])
        first.close()
        second = reopen()
        assert second.query("run.started") == [fact]
        assert second.append([Fact("run.finished", "r1")])[0].seq > fact.seq
        second.close()

    def test_threads_share_one_ledger(self, ledger: Ledger) -> None:
        """Nothing is lost, and every thread's facts keep their order."""

        def write(name: str) -> None:
            for n in range(BATCHES):
                ledger.append([Fact("run.step", name, {"n": n})])

        threads = [threading.Thread(target=write, args=(str(i),)) for i in range(WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(_WAIT_S)
        for i in range(WRITERS):
            assert [f.body["n"] for f in ledger.query("run.step", str(i))] == list(range(BATCHES))

    def test_processes_share_one_ledger(self, ledger: Ledger, program: str) -> None:
        """Several writers lose nothing, double nothing, and never fail because another writes."""
        text = (
            f"{program}\nimport sys\nfrom headrace.storage.ledger import Fact\n"
            f"for n in range({BATCHES}): ledger.append([Fact('run.step', sys.argv[1], {{'n': n}}), Fact('alert', 'x')])"
        )
        started = [subprocess.Popen([sys.executable, "-c", text, str(i)]) for i in range(WRITERS)]  # noqa: S603
        assert [process.wait(_WAIT_S) for process in started] == [0] * WRITERS
        for i in range(WRITERS):
            assert [f.body["n"] for f in ledger.query("run.step", str(i))] == list(range(BATCHES))
        seqs = [f.seq for f in ledger.query("*")]
        assert len(set(seqs)) == len(seqs) == 2 * WRITERS * BATCHES

    def test_one_of_many_processes_gets_the_mark(self, ledger: Ledger, program: str) -> None:
        """When several append the same mark, exactly one succeeds."""
        text = (
            f"{program}\nfrom headrace.errors import Conflict\nfrom headrace.storage.ledger import Fact\n"
            "try: ledger.append([Fact('model.version', 'wine', unique='wine@1')])\n"
            "except Conflict: raise SystemExit(7)"
        )
        started = [subprocess.Popen([sys.executable, "-c", text]) for _ in range(WRITERS)]  # noqa: S603
        codes = sorted(process.wait(_WAIT_S) for process in started)
        assert codes == [0] + [7] * (WRITERS - 1)
        assert len(ledger.query("model.version")) == 1

    def test_appended_facts_survive_kill_9(self, ledger: Ledger, program: str) -> None:
        """Every append that returned is there after the writer was killed, and no batch is halved."""
        text = (
            f"{program}\nfrom headrace.storage.ledger import Fact\nn = 0\n"
            "while True:\n"
            "    ledger.append([Fact('run.step', 'a', {'n': n}), Fact('run.step', 'b', {'n': n})])\n"
            "    print(n, flush=True); n += 1"
        )
        process = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)  # noqa: S603
        assert process.stdout is not None
        with process.stdout as lines:
            acknowledged = [int(next(lines)) for _ in range(50)]
            os.kill(process.pid, signal.SIGKILL)
            acknowledged += [int(line) for line in lines if line.endswith("\n")]
        process.wait(_WAIT_S)
        kept = [f.body["n"] for f in ledger.query("run.step", "a")]
        assert kept[: len(acknowledged)] == acknowledged
        assert [f.body["n"] for f in ledger.query("run.step", "b")] == kept
