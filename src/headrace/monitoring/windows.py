"""Windows of event time, in UTC: a month, a day or an hour, each with a name that sorts by time."""

from datetime import UTC, datetime
from typing import Literal

from headrace.errors import UsageError

Every = Literal["month", "day", "hour"]
MIN_ROWS = 200
"""A window of fewer rows raises no alarm: requests that come together are alike, whatever a test of chance says."""
_FORMATS: dict[Every, str] = {"month": "%Y-%m", "day": "%Y-%m-%d", "hour": "%Y-%m-%dT%H"}
_MILLISECONDS_FROM = 1e11
"""Numbers from here on are Unix milliseconds: as seconds they would lie past the year 5000."""


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


def instant(moment: datetime | str | float) -> datetime:
    """An instant, from ISO 8601 text (UTC unless it says otherwise), or Unix seconds or milliseconds, also as text.

    Raises:
        UsageError: It is none of these.
    """
    if isinstance(moment, datetime):
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    try:
        if isinstance(moment, str):
            if not _is_number(moment):
                read = datetime.fromisoformat(moment)
                return read if read.tzinfo else read.replace(tzinfo=UTC)
            moment = float(moment)
        seconds = moment / 1000 if abs(moment) >= _MILLISECONDS_FROM else moment
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(
            f"{moment!r} is no instant", why=str(error), fix="ISO 8601 (2024-03-05T10:00:00Z) or Unix seconds"
        ) from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
