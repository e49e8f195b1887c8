"""Instants of event time, in whichever way callers write them."""

from datetime import UTC, datetime, timedelta

from headrace.errors import UsageError

_SECONDS_FROM, _MILLISECONDS_FROM, _MILLISECONDS_TO = 1e8, 1e11, 253_402_300_800_000
"""Unix seconds up to 1e11, milliseconds from there: either way 1973 is the first year, which no count of rows is."""
_YEARS = range(2, 9999)
"""At the ends of the calendar a change of time zone overflows."""
_SAID = 60
_SPANS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DIGITS = 6


def instant(moment: datetime | str | float) -> datetime:
    """An instant, from ISO 8601 text (UTC unless it says otherwise), or Unix seconds or milliseconds, also as text.

    Raises:
        UsageError: It is none of these, or a number before 1973 or after 9999.
    """
    if isinstance(moment, datetime):
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    try:
        if isinstance(moment, str) and (moment[4:5] == "-" or not _is_number(moment)):
            return _of_text(moment)
        return _of_number(moment)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{_brief(moment)} is no instant",
            why=str(error)[: 2 * _SAID],
            fix="ISO 8601 (2024-03-05T10:00:00Z), Unix seconds or Unix milliseconds",
        ) from error


def ago(text: str, now: datetime) -> datetime:
    """An instant, said as a span back from ``now`` (``90s``, ``30m``, ``2h``, ``7d``) or as ``instant`` reads it.

    Raises:
        UsageError: It is neither.
    """
    seconds = _span_s(text)
    if seconds is not None:
        return now - timedelta(seconds=seconds)
    try:
        return instant(text)
    except UsageError as error:
        raise UsageError(f"{_brief(text)} is no time", why=error.why, fix="2h, 7d, or 2024-03-05T10:00:00Z") from error


def span_s(text: str) -> float:
    """A span of time in seconds, said as ``90s``, ``10m``, ``2h`` or ``7d``.

    Raises:
        UsageError: It is none.
    """
    seconds = _span_s(text)
    if seconds is None:
        raise UsageError(f"{_brief(text)} is no span of time", fix="90s, 10m, 2h or 7d")
    return seconds


def _span_s(text: str) -> float | None:
    number, unit = text[:-1], text[-1:]
    known = unit in _SPANS and number.isdecimal() and len(number) <= _DIGITS
    return float(int(number) * _SPANS[unit]) if known else None


def _of_text(moment: str) -> datetime:
    read = datetime.fromisoformat(moment)
    if read.year not in _YEARS:
        raise ValueError(f"the year is {read.year}")
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def _of_number(moment: str | float) -> datetime:
    number = float(moment)
    if isinstance(moment, bool) or not _SECONDS_FROM <= number < _MILLISECONDS_TO:  # nan is refused too
        raise ValueError("no Unix seconds or milliseconds from 1973 to 9999")
    return datetime.fromtimestamp(number / 1000 if number >= _MILLISECONDS_FROM else number, UTC)


def _brief(moment: str | float) -> str:
    if isinstance(moment, int) and moment.bit_length() > _SAID:  # Python refuses to write very long ones
        return "a whole number of many digits"
    return repr(moment)[:_SAID]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
