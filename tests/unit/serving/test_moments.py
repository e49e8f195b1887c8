"""Instants of event time: what people send is read, and what cannot be one is refused."""

from datetime import UTC, datetime

import pytest

from headrace.errors import UsageError
from headrace.serving.moments import instant

NOON = datetime(2024, 3, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "moment",
    [
        "2024-03-31T12:00:00Z",
        "2024-03-31 12:00:00",
        "2024-03-31T14:00:00+02:00",
        "20240331T120000Z",
        "1711886400",
        1711886400.0,
        1711886400000,
        "1711886400000",
        NOON.replace(tzinfo=None),
    ],
)
def test_instants_are_read_from_what_people_send(moment):
    assert instant(moment) == NOON


TEXTS = ["yesterday", "", "5", "nan", "inf", "2024-13-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:00:00-14:00"]


@pytest.mark.parametrize(
    "moment",
    [*TEXTS, 5, -5.0, 20240305, True, 5.5e300, float("nan"), float("inf"), 10**4000, 253_402_300_800_000],
)
def test_what_is_no_instant_is_named(moment):
    with pytest.raises(UsageError, match="no instant") as refused:
        instant(moment)
    assert len(str(refused.value)) < 400
