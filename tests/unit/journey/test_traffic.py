from datetime import UTC, datetime

import numpy as np
import pytest

from headrace.assembly import open_platform
from headrace.errors import DataRefused, NameRefused, NotFound, UsageError
from headrace.journey.traffic import Traffic, put_traffic, read_traffic
from headrace.monitoring.labels import Label, add
from headrace.refs import new_id
from headrace.serving.log import Answered, encode, topic
from headrace.settings import load_settings
from headrace.storage.stream import Record

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
def platform(tmp_path):
    (tmp_path / "headrace.toml").write_text("")
    opened = open_platform(load_settings(tmp_path))
    yield opened
    opened.close()


def asked(platform, cells, answers, *, names=("alcohol", "grape"), at_ms=1_000, winner="wine@1"):
    entry = Answered(
        names=names,
        cells=cells,
        event_time=names[-1] == "when" if names else False,
        outputs={"quality": answers},
        winner=winner,
        reason="",
        elapsed_s=0.001,
        scores=[],
        waiting=[],
        deployment=1,
    )
    digits = f"{at_ms:012x}{new_id().replace('-', '')[12:]}"
    identifier = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
    platform.stream().append(topic("wine"), [Record(identifier, encode(entry), at_ms)])
    return identifier


def rows(platform, version):
    from headrace.datasets.contents import table

    return table(platform.stores(), version).collect().to_native().to_pylist()


def test_a_row_for_each_row_that_was_asked(platform):
    one = asked(platform, [(9.5, "riesling"), (10.0, None)], [6.5, 5.0])
    two = asked(platform, [(11.0, "merlot")], [7.0], winner="default")
    asked(platform, [(1.0, "gone")], [], winner="gone")
    add(platform.stream(), "wine", [Label(one, 6.0, "2026-01-01", row=1)])
    version = put_traffic(platform, Traffic("wine"), "wine-requests", licence="CC0-1.0")
    found = {(row["id"], row["row"]): row for row in rows(platform, version)}
    assert version.rows == len(found) == 3
    first, second, third = found[one, 0], found[one, 1], found[two, 0]
    assert (first["alcohol"], first["grape"], first["answered_quality"], first["label"]) == (9.5, "riesling", 6.5, None)
    assert (second["alcohol"], second["grape"], second["label"]) == (10.0, None, 6.0)
    assert (third["winner"], third["answered_quality"]) == ("default", 7.0)
    assert version.licence == "CC0-1.0"


def test_a_span_of_time(platform):
    for at_ms in (1_000, 50_000_000, 99_000_000):
        asked(platform, [(float(at_ms), "a")], [1.0], at_ms=at_ms)
    span = Traffic("wine", datetime.fromtimestamp(40_000, UTC), datetime.fromtimestamp(60_000, UTC))
    version = put_traffic(platform, span, "wine-requests")
    assert [row["alcohol"] for row in rows(platform, version)] == [50_000_000.0]
    with pytest.raises(NotFound, match="no request of wine"):
        put_traffic(platform, Traffic("wine", datetime.fromtimestamp(900_000, UTC)), "wine-requests")


def test_columns_of_ours_do_not_hide_inputs(platform):
    asked(platform, [("seven", 2.0, "2026-01-01T00:00:00")], [1.0], names=("id", "answered_quality", "when"))
    (row,) = rows(platform, put_traffic(platform, Traffic("wine"), "wine-requests"))
    assert (row["input_id"], row["input_answered_quality"], row["answered_quality"]) == ("seven", 2.0, 1.0)
    assert str(row["event_time"]).startswith("2026-01-01")


def test_tensors_of_one_value_are_columns_and_others_are_not(platform):
    asked(platform, {"x": np.ones((2, 1), np.float32)}, np.ones((2, 1), np.float32), names=("x",))
    version = put_traffic(platform, Traffic("wine"), "wine-requests")
    assert [row["x"] for row in rows(platform, version)] == [1.0, 1.0]
    asked(platform, {"x": np.ones((2, 3), np.float32)}, np.ones((2, 1), np.float32), names=("x",))
    with pytest.raises(UsageError, match="3 values a row"):
        put_traffic(platform, Traffic("wine"), "wine-requests")


def test_traffic_keeps_a_contract_like_other_data(platform):
    asked(platform, [(9.5, "riesling")], [6.5])
    put_traffic(platform, Traffic("wine"), "wine-requests")
    asked(platform, [("strong", "riesling")], [6.5], at_ms=90_000_000)
    with pytest.raises(DataRefused):
        put_traffic(platform, Traffic("wine", datetime.fromtimestamp(80_000, UTC)), "wine-requests")


def test_what_is_meant():
    assert read_traffic("request-log://late?since=2h", NOW) == Traffic("late", datetime(2026, 11, 1, 10, tzinfo=UTC))
    until = read_traffic("request-log://late?since=7d&until=2026-10-31", NOW)
    assert (until.since, until.until) == (datetime(2026, 10, 25, 12, tzinfo=UTC), datetime(2026, 10, 31, tzinfo=UTC))


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("request-log://late?from=2h", UsageError),
        ("request-log://late/more", UsageError),
        ("request-log://late?since=soon", UsageError),
        ("request-log://", NameRefused),
        ("request-log://../etc", UsageError),
        ("request-log://..", NameRefused),
    ],
)
def test_what_names_no_requests(source, error):
    with pytest.raises(error):
        read_traffic(source, NOW)


def test_an_endpoint_that_never_was(platform):
    with pytest.raises(NotFound, match="no endpoint"):
        put_traffic(platform, Traffic("none"), "none-requests")
