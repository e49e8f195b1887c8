"""A segment that is still written, followed from its begin: where its whole frames end, and what keys they hold."""

import os

from headrace.engines.local.key_file import Keys
from headrace.engines.local.segment import HEAD_BYTES, Segment

_GATHERED = 1000


class Followed:
    """What is known of a segment; ``follow`` looks at what was added since.

    Args:
        segment: Open; closed with this.

    Attributes:
        segment: As given.
        keys: Of its whole frames.
        end: The place behind the last whole frame.
        closed: Whether nothing is to be added to it: it says so itself, is damaged, deleted, cut or given up, or ends
            in what is no whole frame. Without the writer's lock, that may be one that is just being written.
    """

    def __init__(self, segment: Segment) -> None:
        self.segment, self.keys = segment, Keys()
        self.end, self.closed = HEAD_BYTES, False
        self._said_so = self._harmed = False

    @property
    def offset(self) -> int:
        """Where the next frame begins in the topic."""
        return self.segment.base + self.end

    def follow(self) -> None:
        """Take in what was added."""
        about = os.fstat(self.segment.handle)
        size, gone = about.st_size, not about.st_nlink or about.st_size < self.end
        self.closed |= gone
        if size == self.end or self._said_so:
            return
        self._walk()
        while self.end < size and not self._said_so:
            beyond = self.segment.next_of(self.end)
            if beyond is None:
                break
            self._harmed |= beyond > self.end
            self.end = beyond
            self._walk()
        self.closed = self._said_so or self._harmed or self.end < size or gone

    def give_up(self, place: int) -> None:
        """Add nothing to it any more, whatever it looks like, and take it to end here."""
        self.end, self.closed, self._harmed = place, True, True

    def close(self) -> None:
        """Close the file."""
        self.segment.close()

    def _walk(self) -> None:
        keys, times, places = list[bytes](), list[int](), list[int]()
        try:
            for frame in self.segment.frames(self.end):
                place = frame.offset - self.segment.base
                self._said_so = not frame.holds
                keys += frame.keys()
                times += frame.times()
                places += range(place, place + frame.holds)
                self.end = frame.end - self.segment.base
                if len(keys) >= _GATHERED:
                    self.keys.add(keys, times, places)
                    keys, times, places = [], [], []
        finally:  # also where reading failed: the next look begins behind them
            if keys:
                self.keys.add(keys, times, places)
