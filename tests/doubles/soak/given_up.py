"""Calls that their caller gave up, held against what the log says became of them."""

from headrace.serving.records import GONE

PROMISED_S = 5.0
_GRACE_S = 1.0


def unexplained(calls, records):
    """Which of them a slow machine does not explain.

    A call is explained by a record of its own: it arrived while the call was under way, and the server saw the caller
    go before an answer was due, or answered about when the caller went or later. An answer long before that is a lost
    reply.

    Args:
        calls: When each was begun and given up, in Unix seconds.
        records: Logged requests whose caller got no reply.

    Returns:
        How many of the calls, and how many of the records, are without the other.
    """
    left = sorted(records, key=lambda record: record.at_ms)
    alone = 0
    for begun, ended in sorted(calls):
        own = next((record for record in left if _explains(record, begun, ended)), None)
        if own is None:
            alone += 1
        else:
            left.remove(own)
    return alone, len(left)


def _explains(record, begun, ended):
    arrived = record.at_ms / 1000
    if not begun - _GRACE_S <= arrived <= ended + _GRACE_S:
        return False
    if record.winner == GONE:
        return record.elapsed_s <= PROMISED_S + _GRACE_S
    return arrived + record.elapsed_s >= ended - _GRACE_S
