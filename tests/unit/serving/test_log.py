from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from headrace.engines.local.stream import LocalStream
from headrace.errors import IntegrityError
from headrace.refs import id_time_ms, new_id
from headrace.serving.log import Answered, Late, RequestLog, Scored, encode, topic
from headrace.serving.log_writer import LogWriter
from headrace.serving.records import Prediction, Score
from headrace.storage.stream import Record


@pytest.fixture
def stream(tmp_path):
    opened = LocalStream(tmp_path)
    yield opened
    opened.close()


def answered(**changes):
    entry = Answered(
        names=("alcohol", "grape", "at"),
        cells=[(12.5, "riesling", "2024-05-01"), (9.0, None, "2024-05-02")],
        event_time=True,
        outputs={"quality": [6.5, 5.0]},
        winner="wine@3",
        reason="",
        elapsed_s=0.004,
        scores=[("wine@3", {"quality": [6.5, 5.0]}, 0.003, ""), ("bad@1", {}, 0.001, "ValueError: no")],
        waiting=[],
        deployment=17,
    )
    return msgspec.structs.replace(entry, **changes)


def id_at(at_ms):
    """As ``new_id`` makes them, at another time."""
    digits = f"{at_ms:012x}{new_id().replace('-', '')[12:]}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def write(stream, *entries):
    stream.append(topic("wine"), [Record(key, msgspec.msgpack.encode(e), id_time_ms(key)) for key, e in entries])


def test_a_prediction_reads_back_whole(stream):
    key = new_id()
    write(stream, (key, answered()))
    log = RequestLog(stream, "wine")
    found = log.find(key)
    assert found == Prediction(
        id=key,
        endpoint="wine",
        at_ms=id_time_ms(key),
        columns={"alcohol": (12.5, 9.0), "grape": ("riesling", None)},
        event_time=["2024-05-01", "2024-05-02"],
        outputs={"quality": [6.5, 5.0]},
        winner="wine@3",
        reason="wine@3 is preferred, and was there after 4.0 ms",
        elapsed_s=0.004,
        scores=(
            Score("wine@3", "in_time", {"quality": [6.5, 5.0]}, 0.003),
            Score("bad@1", "failed", {}, 0.001, "ValueError: no"),
        ),
        deployment=17,
    )
    assert log.predictions() == [(stream.read(topic("wine"))[0].offset, found)]
    assert log.find(new_id()) is None


def test_the_moments_of_a_score_are_those_that_are_known(stream):
    key, late = new_id(), Late("slow@1", {}, 0.009, "", (0.002, 0.001, 0.0095, 0.003, 0.008))
    scores = [
        Scored("wine@3", None, 0.004, "", (0.003,)),
        Scored("full@1", {}, 0.0005, "dropped", (-1.0, 0.0005, -1.0)),
    ]
    write(stream, (key, answered(scores=scores, waiting=["slow@1"], received=77.5)), (key, late))
    found = RequestLog(stream, "wine").find(key)
    assert found.received == 77.5
    quick, dropped, slow = (list(score.moments.items()) for score in found.scores)
    assert quick == [("started", 0.003), ("scored", 0.004)]
    assert dropped == [("queued", 0.0005), ("scored", 0.0005)]
    assert [name for name, _ in slow] == ["queued", "started", "worker_started", "worker_scored", "scored", "returned"]


def test_a_log_without_event_time_and_without_records(stream):
    log = RequestLog(stream, "wine")
    assert log.predictions() == []
    key = new_id()
    write(stream, (key, answered(names=("alcohol",), cells=[(1.0,)], event_time=False)))
    assert log.find(key).columns == {"alcohol": (1.0,)}
    assert log.find(key).event_time == []


def test_late_scores_join_their_request_wherever_they_lie(stream, monkeypatch):
    from headrace.serving import log as log_module

    monkeypatch.setattr(log_module, "_PAGE", 3)
    keys = [new_id() for _ in range(10)]
    write(stream, *((key, answered(waiting=["slow@1"])) for key in keys))
    write(stream, *((key, Late("slow@1", {"quality": [1.0, 2.0]}, 0.5, "")) for key in keys[:-1]))
    log = RequestLog(stream, "wine")
    found = log.predictions()
    assert [offset for offset, _ in found] == [r.offset for r in stream.read(topic("wine"))[:10]]
    assert [p.scores[-1].state for _, p in found] == ["late"] * 9 + ["failed"]
    assert found[0][1].scores[-1] == Score("slow@1", "late", {"quality": [1.0, 2.0]}, 0.5)
    assert log.find(keys[4]) == found[4][1]
    assert [len(p.scores) for _, p in log.predictions(late=False)] == [2] * 10


def test_reading_goes_on_where_it_stopped(stream, monkeypatch):
    from headrace.serving import log as log_module

    monkeypatch.setattr(log_module, "_PAGE", 2)
    keys = [new_id() for _ in range(7)]
    for key in keys:
        write(stream, (key, answered()), (key, Late("slow@1", {}, 0.1, "late and failed")))
    log = RequestLog(stream, "wine")
    seen, after = [], -1
    while page := log.predictions(after=after, limit=3):
        assert len(page) <= 3
        after = page[-1][0]
        seen += [p.id for _, p in page]
    assert seen == keys


def test_a_span_of_time_is_read_without_what_is_before(stream):
    """Bisection: of 5,000 records few are looked at to find where a span begins."""
    begin = 1_700_000_000_000
    entry = msgspec.msgpack.encode(answered())
    keys = [id_at(begin + i * 1000) for i in range(5000)]
    stream.append(topic("wine"), [Record(key, entry, begin + i * 1000) for i, key in enumerate(keys)])
    log = RequestLog(stream, "wine")
    found = [p.id for page in log.between(begin + 4_000_000, begin + 4_500_000) for _, p in page]
    assert found == keys[4000:4501]
    assert [p.id for page in log.between(0) for _, p in page] == keys
    assert [p.id for page in log.between(begin + 4_999_000) for _, p in page] == keys[-1:]
    assert [p for page in log.between(begin + 5_100_000) for p in page] == []
    read, counted = [], stream.read
    stream.read = lambda name, **how: read.append(how) or counted(name, **how)
    next(log.between(begin + 4_000_000, begin + 4_001_000))
    assert sum(min(how["limit"], 5000) for how in read) < 2100


def test_what_comes_after_a_span_is_not_decoded(stream, monkeypatch):
    from headrace.serving import log as log_module

    begin = 1_700_000_000_000
    entry = msgspec.msgpack.encode(answered())
    keys = [id_at(begin + i * 1000) for i in range(5000)]
    stream.append(topic("wine"), [Record(key, entry, begin + i * 1000) for i, key in enumerate(keys)])
    decoded, decoder = [], log_module._decoder
    monkeypatch.setattr(
        log_module, "_decoder", SimpleNamespace(decode=lambda v: decoded.append(v) or decoder.decode(v))
    )
    pages = list(RequestLog(stream, "wine").between(begin + 1_000_000, begin + 1_010_000))
    assert [p.id for page in pages for _, p in page] == keys[1000:1011]
    assert len(decoded) == 11


def test_a_request_from_before_a_clock_was_stepped_back_is_found_by_its_time(stream):
    """Its record has the time of those before it, as times of records never fall."""
    begin, hour = 1_700_000_000_000, 3600 * 1000
    entry = msgspec.msgpack.encode(answered())
    keys = [id_at(begin), id_at(begin - hour), id_at(begin + 5)]
    stream.append(topic("wine"), [Record(key, entry, begin + i) for i, key in enumerate(keys)])
    pages = RequestLog(stream, "wine").between(begin - hour - 5, begin - hour + 5)
    assert [p.id for page in pages for _, p in page] == keys[1:2]


def test_a_span_holds_what_another_gateway_was_slower_to_write(stream):
    """Two that write a log take turns: what was answered first may be written last."""
    begin = 1_700_000_000_000
    entry = msgspec.msgpack.encode(answered())
    times = [begin, begin + 3000, begin + 500, begin + 4000]
    keys = [id_at(at_ms) for at_ms in times]
    stream.append(topic("wine"), [Record(key, entry, at) for key, at in zip(keys, times, strict=True)])
    pages = RequestLog(stream, "wine").between(begin + 2000)
    assert [p.id for page in pages for _, p in page] == [keys[1], keys[3]]


def test_a_log_that_nobody_wrote_has_no_span(stream):
    assert list(RequestLog(stream, "wine").between(0)) == []


def test_tensors_are_kept_as_their_bytes_and_read_back_as_lists(stream):
    key = new_id()
    pixels = np.arange(6, dtype=np.float32).reshape(1, 2, 3) + 0.1
    outputs = {"y": np.array([[1, 2]], np.int64), "word": np.array([["a", "é"]], object)}
    entry = answered(
        names=("x", "text"),
        cells={"x": pixels, "text": np.array(["süß"], object)},
        event_time=False,
        outputs=outputs,
        scores=[("wine@3", None, 0.003, ""), ("wine@2", {"y": np.array([[True, False]])}, 0.004, "")],
    )
    stream.append(topic("wine"), [Record(key, encode(entry), id_time_ms(key))])
    found = RequestLog(stream, "wine").find(key)
    assert found.columns == {"x": pixels.tolist(), "text": ["süß"]}
    assert found.outputs == {"y": [[1, 2]], "word": [["a", "é"]]}
    assert [score.outputs for score in found.scores] == [found.outputs, {"y": [[True, False]]}]


def test_a_record_of_another_kind_is_said_to_be_one(stream):
    strange = msgspec.msgpack.encode(answered(cells={"x": msgspec.msgpack.Ext(9, b"")}))
    stream.append(topic("wine"), [Record(new_id(), strange, 0)])
    with pytest.raises(IntegrityError, match="extension 9"):
        RequestLog(stream, "wine").predictions()


def test_a_span_of_time_is_found_whatever_the_clock_did(stream):
    """An hour ahead, back, and back another: records lie in order of writing, their times never fall."""
    hour = 3_600_000
    now = 1_700_000_000_000
    writer = LogWriter(stream, topic("wine"), lambda call, *args: call(*args))
    due = {}
    for step in (0, hour, 0, -hour, 0):
        for number in range(700):
            at_ms = now + step + number
            key = id_at(at_ms)
            due.setdefault(step, set()).add(key)
            writer.add(key, encode(answered()), at_ms)
    writer.close()
    times = [record.at_ms for record in stream.read(topic("wine"), limit=9999)]
    assert times == sorted(times)
    log = RequestLog(stream, "wine")

    def between(since, until):
        return {p.id for page in log.between(now + since, now + until) for _, p in page}

    for step in (0, hour, -hour):
        assert between(step - 1000, step + 1000) == due[step]
    again = LogWriter(stream, topic("wine"), lambda call, *args: call(*args))
    key = new_id()
    again.add(key, encode(answered()), 5)  # a gateway that starts with its clock far behind
    again.close()
    assert stream.find(topic("wine"), key)[0].at_ms == now + hour + 699
