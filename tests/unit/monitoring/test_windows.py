"""Windows are named by event time in UTC."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from headrace.errors import UsageError
from headrace.monitoring.windows import checked_every, instant, window

NOON = datetime(2024, 3, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "moment",
    [
        "2024-03-31T12:00:00Z",
        "2024-03-31 12:00:00",
        "2024-03-31T14:00:00+02:00",
        "1711886400",
        1711886400000,
        NOON.replace(tzinfo=None),
    ],
)
def test_instants_are_read_from_what_people_send(moment):
    assert instant(moment) == NOON


def test_windows_are_named_so_that_they_sort():
    late = datetime(2024, 4, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    assert [window(late, every) for every in ("month", "day", "hour")] == ["2024-03", "2024-03-31", "2024-03-31T23"]


@pytest.mark.parametrize("moment", ["yesterday", "", float("nan"), 1e300])
def test_what_is_no_instant_is_named(moment):
    with pytest.raises(UsageError, match="no instant"):
        instant(moment)


def test_other_windows_are_named():
    with pytest.raises(UsageError, match="month, day, hour"):
        checked_every("week")
