"""Windows of event time, in UTC: a month, a day or an hour, each with a name that sorts by time."""

from datetime import UTC, datetime
from typing import Literal

from headrace.errors import UsageError

Every = Literal["month", "day", "hour"]
MIN_ROWS = 200
"""A window of fewer rows raises no alarm: requests that come together are alike, whatever a test of chance says."""
_FORMATS: dict[Every, str] = {"month": "%Y-%m", "day": "%Y-%m-%d", "hour": "%Y-%m-%dT%H"}


def checked_every(text: str) -> Every:
    """A length of windows that somebody typed.

    Raises:
        UsageError: There are none of this length.
    """
    for every in _FORMATS:
        if every == text:
            return every
    raise UsageError(f"no windows of one {text!r}", fix=f"one of {', '.join(_FORMATS)}")


def window(at: datetime, every: Every) -> str:
    """Name of the window that an instant lies in (``2024-03``, ``2024-03-05``, ``2024-03-05T10``)."""
    return at.astimezone(UTC).strftime(_FORMATS[every])
