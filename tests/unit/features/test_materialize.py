"""Materializing: the newest row of each entity, as the offline join has it, and what is refused."""

from datetime import UTC, datetime, timedelta

import narwhals as nw
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.assembly import open_platform
from headrace.datasets.put import put
from headrace.errors import DataRefused, NameRefused, NotFound, UsageError
from headrace.features import latest
from headrace.features.materialize import Materialization, materialize
from headrace.features.view import find, views
from headrace.settings import Settings

START = datetime(2024, 1, 1, tzinfo=UTC)
WEATHER = {
    "origin": ["EWR", "JFK", "EWR", "JFK", "EWR", None, "LGA"],
    "hour": [START + timedelta(hours=h) for h in (1, 5, 3, 2, 2, 9, 0)],
    "wind": [1.0, 2.0, float("nan"), 4.0, 5.0, 6.0, 7.5],
    "gusts": [1, None, 3, 4, 5, 6, 7],
    "sky": ["clear", "rain", "fog", None, "snow", "hail", "clear"],
}


@pytest.fixture
def platform(tmp_path):
    opened = open_platform(Settings(root=tmp_path / "project", workers=1))
    yield opened
    opened.close()


@pytest.fixture
def stored(platform, tmp_path):
    def store(name, columns):
        path = tmp_path / f"{name}.parquet"
        pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), path)
        return put(platform.stores(), name, path)

    return store


def made(platform, **asked):
    return materialize(platform.stores(), platform.online(), Materialization("weather", **asked))


def rows_of(platform, *keys):
    return list(platform.online().read("weather", [(key,) for key in keys]).rows)


def test_the_newest_row_of_each_entity(platform, stored):
    version = stored("weather", WEATHER)
    view = made(platform, data="weather", by=["origin"], event_time="hour")
    assert (view.rows, view.dataset, view.dataset_digest) == (3, "weather@1", version.digest)
    assert (view.keys, view.columns) == (
        {"origin": "string"},
        {"wind": "float64", "gusts": "int64", "sky": "string"},
    )
    # The newest row counts as it is: its nulls are not filled from older ones, and NaN is null.
    assert rows_of(platform, "EWR", "JFK", "LGA", "ORD") == [
        (None, 3, "fog"),
        (2.0, None, "rain"),
        (7.5, 7, "clear"),
        None,
    ]
    assert find(platform.ledger(), "weather").version == platform.online().read("weather", ()).view.version


def test_chosen_columns_and_one_row_an_entity(platform, stored):
    stored("airports", {"faa": ["EWR", "JFK"], "gate": [1, 2], "alt": [18, 13], "name": ["Newark", "Kennedy"]})
    view = made(platform, data="airports", by=["faa", "gate"], columns=["alt"])
    assert (view.keys, view.columns) == ({"faa": "string", "gate": "int64"}, {"alt": "int64"})
    assert list(platform.online().read("weather", [("EWR", 1), ("EWR", 2)]).rows) == [(18,), None]


def test_equal_content_is_the_same_version(platform, stored):
    stored("weather", WEATHER)
    first = made(platform, data="weather", by=["origin"], event_time="hour")
    assert made(platform, data="weather@1", by=["origin"], event_time="hour").version == first.version
    assert len(views(platform.ledger(), "weather")) == 1
    fewer = made(platform, data="weather", by=["origin"], event_time="hour", columns=["sky"])
    assert fewer.version != first.version
    later = {**WEATHER, "wind": [9.0, *WEATHER["wind"][1:]]}  # of a row that is not the newest
    stored("weather", later)
    again = made(platform, data="weather", by=["origin"], event_time="hour")
    assert (again.version, again.dataset) == (first.version, "weather@2")
    assert [view.dataset for view in views(platform.ledger(), "weather")] == ["weather@1", "weather@1", "weather@2"]


def test_another_host_of_the_project_gets_the_same_version_by_the_same_command(platform, stored, tmp_path):
    stored("weather", WEATHER)
    view = made(platform, data="weather", by=["origin"], event_time="hour")
    shared = {"ledger": f"sqlite:{platform.home}/ledger.db", "store": f"local:{platform.home}/store"}
    there = open_platform(Settings(root=tmp_path / "there", workers=1, **shared))
    with pytest.raises(NotFound):
        rows_of(there, "EWR")
    assert made(there, data="weather", by=["origin"], event_time="hour").version == view.version
    assert rows_of(there, "EWR", "JFK") == rows_of(platform, "EWR", "JFK")
    there.close()
    assert len(views(platform.ledger(), "weather")) == 1


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"by": ["origin"]}, r"origin 'EWR' has 3 rows.*--event-time"),
        ({"by": ["nobody"]}, "no column 'nobody'.*there are origin, hour"),
        ({"by": ["origin"], "event_time": "when"}, "no column 'when'"),
        ({"by": [], "event_time": "hour"}, "no column names an entity"),
        ({"by": ["wind"], "event_time": "hour"}, "'wind' cannot be a key.*float64"),
        ({"by": ["origin"], "columns": ["origin"], "event_time": "hour"}, "'origin' has two parts"),
        ({"by": ["origin", "wind", "gusts", "sky"], "event_time": "hour"}, "no features are left"),
        ({"by": ["origin", "hour"]}, "'hour' cannot be a key.*timestamp"),
    ],
)
def test_what_cannot_be_a_view_is_refused(platform, stored, asked, said):
    stored("weather", WEATHER)
    with pytest.raises(UsageError, match=said):
        made(platform, data="weather", **asked)
    assert views(platform.ledger()) == []
    with pytest.raises(NotFound):
        platform.online().read("weather", ())


def test_what_no_model_takes_is_refused(platform, stored):
    stored("weather", {"origin": ["EWR", "JFK"], "wind": [1.0, float("inf")]})
    with pytest.raises(DataRefused, match=r"'wind'.*inf"):
        made(platform, data="weather", by=["origin"])
    with pytest.raises(NotFound):
        platform.online().read("weather", ())


def test_what_is_not_there(platform, stored):
    stored("weather", WEATHER)
    with pytest.raises(NotFound, match=r"no dataset 'wether'.*weather"):
        made(platform, data="wether", by=["origin"])
    with pytest.raises(NameRefused):
        materialize(platform.stores(), platform.online(), Materialization("../x", "weather", ["origin"], (), "hour"))
    with pytest.raises(NotFound, match=r"no feature view 'weather'.*there is none yet"):
        find(platform.ledger(), "weather")
    made(platform, data="weather", by=["origin"], event_time="hour")
    with pytest.raises(NotFound, match="did you mean 'weather'"):
        find(platform.ledger(), "wether")


cells = st.tuples(
    st.sampled_from(["a", "b", "c", None]),
    st.one_of(st.none(), st.integers(0, 6)),
    st.one_of(st.none(), st.integers(-2, 2).map(float)),
    st.one_of(st.none(), st.booleans()),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(cells, min_size=1, max_size=12))
def test_online_equals_the_join_at_a_point_in_time(platform, tmp_path, drawn):
    """Parity: what is read online is what the offline join gives a row that is asked about after every event."""
    keys, hours, wind, sunny = zip(*drawn, strict=True)
    table = pa.table(
        {
            "origin": pa.array(keys, pa.string()),
            "hour": pa.array([None if h is None else START + timedelta(hours=h) for h in hours], pa.timestamp("us")),
            "wind": pa.array(wind, pa.float64()),
            "sunny": pa.array(sunny, pa.bool_()),
        }
    )
    pq.write_table(table, tmp_path / "drawn.parquet")
    put(platform.stores(), "drawn", tmp_path / "drawn.parquet")
    made(platform, data="drawn", by=["origin"], event_time="hour")
    asked = pa.table({"origin": ["a", "b", "c"], "at": pa.array([START + timedelta(days=9)] * 3, pa.timestamp("us"))})
    frames = [nw.from_native(part).lazy() for part in (_duck(platform, asked, tmp_path), table)]
    events = platform.stores().tables.scan([tmp_path / "drawn.parquet"])
    offline = latest(frames[0], events, by="origin", at="at", event_time="hour").sort("origin").collect("pyarrow")
    due = [tuple(row) for row in offline.select("wind", "sunny").iter_rows()]
    known = {key for key, hour in zip(keys, hours, strict=True) if key is not None and hour is not None}
    online = rows_of(platform, "a", "b", "c")
    assert [key in known for key in "abc"] == [row is not None for row in online]
    assert [row or (None, None) for row in online] == due


def _duck(platform, table, folder):
    pq.write_table(table, folder / "asked.parquet")
    return nw.to_native(platform.stores().tables.scan([folder / "asked.parquet"]))
