import subprocess
import sys

import pytest

from headrace.conformance.stream import StreamSuite
from headrace.engines.sqlite.stream import SqliteStream
from headrace.errors import Unavailable
from headrace.storage.stream import Record


class TestSqliteStream(StreamSuite):
    @pytest.fixture
    def stream(self, tmp_path):
        opened = SqliteStream(tmp_path / "stream")
        yield opened
        opened.close()

    @pytest.fixture
    def other(self, stream, tmp_path):
        opened = SqliteStream(tmp_path / "stream")
        yield opened
        opened.close()

    def test_another_process_reads_and_writes_too(self, stream, tmp_path):
        stream.append("orders", [Record("a", b"1", 0)])
        code = (
            "import sys; from pathlib import Path; from headrace.engines.sqlite.stream import SqliteStream;"
            "from headrace.storage.stream import Record; s = SqliteStream(Path(sys.argv[1]));"
            "print([r.key for r in s.read('orders')], s.append('orders', [Record('b', b'2', 0)]))"
        )
        told = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "stream")], capture_output=True, text=True, check=True
        )
        assert told.stdout.split() == ["['a']", "1"]
        assert [r.key for r in stream.read("orders")] == ["a", "b"]

    def test_what_append_returned_from_survives_kill_9(self, tmp_path):
        code = (
            "import os, signal, sys; from pathlib import Path; from headrace.engines.sqlite.stream import SqliteStream;"
            "from headrace.storage.stream import Record; s = SqliteStream(Path(sys.argv[1]));"
            "[s.append('orders', [Record(str(i), b'x' * 500, 0)]) for i in range(200)]; os.kill(os.getpid(), 9)"
        )
        ended = subprocess.run([sys.executable, "-c", code, str(tmp_path / "killed")], check=False)
        assert ended.returncode == -9
        stream = SqliteStream(tmp_path / "killed")
        assert [r.key for r in stream.read("orders")] == [str(i) for i in range(200)]
        stream.close()

    def test_a_damaged_file_is_told_in_our_words(self, tmp_path):
        (tmp_path / "orders.db").write_bytes(b"this is no database" * 100)
        stream = SqliteStream(tmp_path)
        with pytest.raises(Unavailable, match=r"orders\.db"):
            stream.append("orders", [Record("a", b"", 0)])
        stream.close()
