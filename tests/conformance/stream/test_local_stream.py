import subprocess
import sys

import pytest

from headrace.conformance.stream import StreamSuite
from headrace.engines.local.appending import Roll
from headrace.engines.local.stream import LocalStream
from headrace.storage.stream import Record


class TestLocalStream(StreamSuite):
    """One segment: what cannot be told apart from what is kept is not forgotten."""

    forgets = False
    roll = Roll()

    @pytest.fixture
    def stream(self, tmp_path):
        opened = LocalStream(tmp_path / "stream", self.roll)
        yield opened
        opened.close()

    @pytest.fixture
    def other(self, stream, tmp_path):
        opened = LocalStream(tmp_path / "stream", self.roll)
        yield opened
        opened.close()

    def test_another_process_reads_and_writes_too(self, stream, tmp_path):
        stream.append("orders", [Record("a", b"1", 0)])
        code = (
            "import sys; from pathlib import Path; from headrace.engines.local.stream import LocalStream;"
            "from headrace.storage.stream import Record; s = LocalStream(Path(sys.argv[1]));"
            "print([r.key for r in s.read('orders')], s.append('orders', [Record('b', b'2', 0)]))"
        )
        told = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "stream")], capture_output=True, text=True, check=True
        )
        found = stream.read("orders")
        assert told.stdout.split() == ["['a']", str(found[1].offset)]
        assert [r.key for r in found] == ["a", "b"]

    def test_what_append_returned_from_survives_kill_9(self, tmp_path):
        code = (
            "import os, signal, sys; from pathlib import Path; from headrace.engines.local.appending import Roll;"
            "from headrace.engines.local.stream import LocalStream; from headrace.storage.stream import Record;"
            "s = LocalStream(Path(sys.argv[1]), Roll(int(sys.argv[2])));"
            "[s.append('orders', [Record(str(i), b'x' * 500, 0)]) for i in range(200)]; os.kill(os.getpid(), 9)"
        )
        most = str(self.roll.most_bytes)
        ended = subprocess.run([sys.executable, "-c", code, str(tmp_path / "killed"), most], check=False)
        assert ended.returncode == -9
        stream = LocalStream(tmp_path / "killed", self.roll)
        assert [r.key for r in stream.read("orders")] == [str(i) for i in range(200)]
        assert [r.key for r in stream.find("orders", "199")] == ["199"]
        stream.close()


class TestLocalStreamOfManySegments(TestLocalStream):
    """Each batch goes to a segment of its own."""

    forgets = True
    roll = Roll(most_bytes=1)
