"""Reading a request log for somebody who waits: page by page, and how far that is.

How many requests lie in a span of time is in no index, and to count them would be to read them. Offsets say what part
of the log was read: late scores lie in between, and on Kafka gaps, but about evenly.
"""

from collections.abc import Callable, Iterator

from headrace.serving.log import RequestLog
from headrace.serving.records import Prediction

Tell = Callable[[int, int], None]
"""Hears how many requests were read, and about how many there are; at first that none was."""


def unheard(done: int, total: int) -> None:
    """Nobody waits."""


def paged(log: RequestLog, since_s: float, tell: Tell) -> Iterator[list[tuple[int, Prediction]]]:
    """Logged requests from a moment on with their offsets, a page at a time, as ``RequestLog.between`` reads them.

    Args:
        log: Of an endpoint.
        since_s: Unix seconds; 0 for all that is kept.
        tell: Called at the start, and after each page that its reader is done with.
    """
    tell(0, 0)
    done, first, last = 0, -1, log.last()
    for page in log.between(int(since_s * 1000)):
        yield page
        if page:
            first = page[0][0] if first < 0 else first
            done, reached = done + len(page), page[-1][0]
            # What is written meanwhile is read too: then the end is where we are.
            rest = max(last - reached, 0) / (reached - first + 1)
            tell(done, done + round(done * rest))
