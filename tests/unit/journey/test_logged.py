"""How far a reader of a log is: requests that were read, and about how many there are."""

import pytest

from headrace.engines.local.stream import LocalStream
from headrace.journey.logged import paged
from headrace.refs import new_id
from headrace.serving.log import Answered, Late, RequestLog, encode, topic
from headrace.storage.stream import Record

REQUESTS, SPAN_S, NOW_MS = 4000, 4000, 1_700_000_000_000


def id_at(at_ms):
    digits = f"{at_ms:012x}{new_id().replace('-', '')[12:]}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """A request a second, each with a score that came late."""
    stream = LocalStream(tmp_path_factory.mktemp("stream"))
    request = encode(Answered(("a",), [(1.0,)], False, {"b": [1.0]}, "wine@1", "", 0.001, (), ("wine@2",), 1))
    late = encode(Late("wine@2", {"b": [1.0]}, 0.1, ""))
    ids = [(id_at(NOW_MS + n * 1000), NOW_MS + n * 1000) for n in range(REQUESTS)]
    records = [Record(key, value, at_ms) for key, at_ms in ids for value in (request, late)]
    stream.append(topic("wine"), records)
    yield RequestLog(stream, "wine")
    stream.close()


@pytest.mark.parametrize("part", [1.0, 0.4])
def test_the_whole_is_told_from_the_first_page_on(log, part):
    told, read = [], 0
    since_s = NOW_MS / 1000 + SPAN_S * (1 - part)
    for page in paged(log, since_s, lambda *so_far: told.append(so_far)):
        assert len(told) == 1 or told[-1][0] == read
        read += len(page)
    assert told[0] == (0, 0)
    assert read == round(REQUESTS * part)
    assert told[-1] == pytest.approx((read, read), abs=1)
    assert len(told) > 3
    assert [total for _, total in told[1:]] == pytest.approx([read] * (len(told) - 1), rel=0.02)


def test_of_an_empty_log_nothing_is_told(tmp_path):
    stream, told = LocalStream(tmp_path), []
    assert list(paged(RequestLog(stream, "wine"), 0.0, lambda *so_far: told.append(so_far))) == []
    assert told == [(0, 0)]
    stream.close()
