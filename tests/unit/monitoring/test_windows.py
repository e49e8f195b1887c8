"""Windows are named by event time in UTC."""

from datetime import datetime, timedelta, timezone

import pytest

from headrace.errors import UsageError
from headrace.monitoring.windows import checked_every, window


def test_windows_are_named_so_that_they_sort():
    late = datetime(2024, 4, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    assert [window(late, every) for every in ("month", "day", "hour")] == ["2024-03", "2024-03-31", "2024-03-31T23"]


def test_other_windows_are_named():
    with pytest.raises(UsageError, match="month, day, hour"):
        checked_every("week")
