"""What is forgotten while records are written, by a broker that can and by one that cannot."""

import pytest
from server_process import until

from headrace.engines.kafka.stream import open_stream
from headrace.storage.stream import Bounds, Record

pytestmark = pytest.mark.service

NOW_MS = 1_700_000_000_000
SOON = Bounds(before_ms=NOW_MS + 90)


def written(stream, keep):
    """A hundred records, each a batch; what lies beyond is forgotten beside the last of them."""
    for n in range(99):
        stream.append("orders", [Record(str(n), b"x", NOW_MS + n)])
    assert stream.append("orders", [Record("99", b"x", NOW_MS + 99)], keep=keep) > 0


def test_no_writer_waits_for_it(noida, hosts):
    stream = hosts(open_stream, noida.uri())
    written(stream, SOON)
    until(lambda: [r.key for r in stream.read("orders")] == [str(n) for n in range(90, 100)])
    assert stream.find("orders", "89") == []
    assert [r.key for r in stream.find("orders", "95")] == ["95"]


def test_a_broker_that_cannot_is_said_once_and_loses_nothing(tansu, hosts, capfd):
    stream, said = hosts(open_stream, tansu.uri()), []

    def told():
        said.append(capfd.readouterr().err)
        return "keeps more than it should" in "".join(said)

    written(stream, Bounds(most_bytes=100))
    until(told)
    stream.append("orders", [Record("100", b"x", NOW_MS + 100)], keep=Bounds(most_bytes=100))
    assert [r.key for r in stream.read("orders")] == [str(n) for n in range(101)]
    assert "".join(said).count("keeps more than it should") == 1
