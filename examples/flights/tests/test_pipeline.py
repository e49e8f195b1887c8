"""What must stay true of the features: nothing from the future, nothing that only departure reveals."""

from datetime import UTC, datetime, timedelta

import narwhals as nw
import pipeline
import polars as pl
import pytest

NOON = datetime(2013, 1, 1, 17, tzinfo=UTC)


def flights(**changes: object) -> pl.DataFrame:
    """Thirty flights a quarter of an hour apart from one airport, each leaving ten minutes late."""
    rows = []
    for number in range(30):
        planned = NOON + timedelta(minutes=15 * number)
        local = planned - timedelta(hours=5)
        left = local + timedelta(minutes=10)
        rows.append(
            {
                "time_hour": planned.replace(minute=0),
                "carrier": "UA",
                "flight": number,
                "sched_dep_time": local.hour * 100 + local.minute,
                "dep_time": left.hour * 100 + left.minute,
                "dep_delay": 10,
                "arr_delay": 20 if number % 2 else 0,
                "hour": local.hour,
                "minute": local.minute,
                "distance": 500,
                "origin": "JFK",
                "dest": "LAX",
            }
        )
    frame = pl.DataFrame(rows)
    return frame.with_columns(**{name: pl.lit(value) for name, value in changes.items()})


def weather() -> pl.DataFrame:
    """Hourly reports whose temperature is the hour's number."""
    hours = [NOON + timedelta(hours=h) for h in range(-8, 10)]
    columns = {name: [float(i) for i in range(len(hours))] for name in pipeline.WEATHER}
    return pl.DataFrame({"origin": ["JFK"] * len(hours), "time_hour": hours, **columns})


def computed(frame: pl.DataFrame) -> pl.DataFrame:
    """The features of ``frame``, in the order of flights."""
    cleaned = pipeline.clean(nw.from_native(frame.lazy()))
    rows = pipeline.features(cleaned, nw.from_native(weather().lazy()))
    return rows.collect("polars").to_native().sort("flight")


def test_the_departure_delay_is_no_input() -> None:
    assert "dep_delay" not in pipeline.INPUTS
    usual = computed(flights())
    assert computed(flights(dep_delay=999)).select(pipeline.INPUTS).equals(usual.select(pipeline.INPUTS))


@pytest.mark.parametrize("number", [8, 15, 29])
def test_nothing_after_the_question_is_used(number: int) -> None:
    everything = flights()
    asked = computed(everything)["asked"][number]
    known = pl.col("time_hour").dt.offset_by("0m") + pl.duration(minutes=pl.col("minute") + 10) <= asked
    later_is_blank = everything.with_columns(
        [pl.when(known).then(pl.col(c)).otherwise(None).alias(c) for c in ("dep_time", "dep_delay", "arr_delay")]
    )
    whole, cut = computed(everything)[number], computed(later_is_blank)[number]
    assert whole.select(pipeline.INPUTS).equals(cut.select(pipeline.INPUTS))


def test_congestion_counts_what_left_in_the_two_hours_before() -> None:
    row = computed(flights())[20]
    # Asked an hour ahead, at the time of flight 16; all leave ten minutes late, so 15 is the last to have left.
    assert row["recent_departures"][0] == 8
    assert row["recent_delay"][0] == 10


def test_the_weather_is_the_newest_report_at_the_question() -> None:
    row = computed(flights())[0]
    assert row["asked"][0] == NOON - timedelta(hours=1)
    assert row["temp"][0] == 7  # the report of that very hour


def test_a_flight_that_never_arrived_has_no_label() -> None:
    rows = computed(flights().with_columns(arr_delay=pl.lit(None, dtype=pl.Int64)))
    assert rows["late"].null_count() == len(rows)
