"""What every Exchange engine must do. Subclass ``ExchangeSuite``; return the engine from ``exchange`` and ``other``."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

from headrace.serving.exchange import Delivery, Exchange, Group

_WITHIN_S = 20.0


class Heard:
    """Remembers what came to one address."""

    def __init__(self, exchange: Exchange, endpoint: str = "late") -> None:
        self.messages: list[bytes] = []
        self.address = exchange.listen(endpoint, self._take)

    def _take(self, messages: Sequence[bytes]) -> None:
        self.messages += messages


def until(done: Callable[[], bool]) -> None:
    """Wait until something is true, for as long as brokers may take."""
    limit = time.monotonic() + _WITHIN_S
    while not done():
        assert time.monotonic() < limit, "it did not come about in time"
        time.sleep(0.005)


@contextmanager
def member(exchange: Exchange, group: str, *beside: Group) -> Iterator[Group]:
    """A member that what is asked from now on reaches; those ``beside`` it are asked meanwhile, as is their habit."""
    joined = exchange.join("late", group)

    def ready() -> bool:
        return not any(each.take(0.05, 1) for each in (joined, *beside)) and joined.joined

    try:
        until(ready)
        yield joined
    finally:
        joined.close()


def taken(group: Group, count: int) -> list[Delivery]:
    """So many questions, each finished at once."""
    found: list[Delivery] = []

    def enough() -> bool:
        more = group.take(0.05, count - len(found))
        group.done(more)
        found.extend(more)
        return len(found) >= count

    until(enough)
    return found


def unfinished(group: Group) -> list[Delivery]:
    """What a member is given next; it does not finish it."""
    found: list[Delivery] = []

    def given() -> bool:
        found.extend(group.take(0.05, 1))
        return bool(found)

    until(given)
    return found


class ExchangeSuite:
    """Cases for the port ``serving.exchange.Exchange``; ``other`` is as if on another host.

    Attributes:
        counts: Whether what the engine runs on says where a partition ends; without that no tries are counted.
    """

    counts: ClassVar[bool] = True

    def test_every_group_is_asked_and_answers_come_to_who_asked(self, exchange: Exchange, other: Exchange) -> None:
        """One question, two groups, one answer each; another front door hears nothing of them."""
        mine, theirs = Heard(exchange), Heard(other)
        with member(other, "late@1") as first, member(exchange, "late@2") as second:
            exchange.ask("late", b"question")
            for name, group in (("one", first), ("two", second)):
                assert [delivery.value for delivery in taken(group, 1)] == [b"question"]
                other.tell("late", f"answer {name}".encode(), mine.address)
            until(lambda: len(mine.messages) == 2)
            assert sorted(mine.messages) == [b"answer one", b"answer two"]
            assert not theirs.messages

    def test_members_of_a_group_share_what_is_asked(self, exchange: Exchange, other: Exchange) -> None:
        """Each question is one member's."""
        count = 60
        with member(exchange, "late@1") as first, member(other, "late@1", first) as second:
            got: list[bytes] = []

            def shared() -> bool:
                for group in (first, second):
                    more = group.take(0.05, 100)
                    group.done(more)
                    got.extend(delivery.value for delivery in more)
                return len(set(got)) == count

            for number in range(count):
                exchange.ask("late", str(number).encode())
            until(shared)

    def test_announcements_reach_every_front_door(self, exchange: Exchange, other: Exchange) -> None:
        """And only those of the endpoint."""
        mine, theirs, elsewhere = Heard(exchange), Heard(other), Heard(other, "soon")
        exchange.tell("late", b"here I am")
        until(lambda: bool(mine.messages) and bool(theirs.messages))
        assert mine.messages == theirs.messages == [b"here I am"]
        assert not elsewhere.messages

    def test_what_a_member_leaves_unfinished_is_given_to_the_next_with_the_number_of_tries(
        self, exchange: Exchange, other: Exchange
    ) -> None:
        """What it finished is not."""
        with member(exchange, "late@1") as first:
            exchange.ask("late", b"finished")
            assert taken(first, 1)[0].tries == 0
            exchange.ask("late", b"deadly")
            unfinished(first)
        for tries in (0, 1, 2):  # the first of them cannot know whether it was begun
            again = other.join("late", "late@1")
            (given,) = unfinished(again)
            assert given.value == b"deadly"
            assert (given.tries, given.alone) == (tries, True) or not self.counts
            again.close()

    def test_what_is_set_aside_is_given_to_nobody_again(self, exchange: Exchange, other: Exchange) -> None:
        """The group goes on with the next."""
        with member(exchange, "late@1") as first:
            exchange.ask("late", b"poison")
            (poison,) = unfinished(first)
            first.set_aside(poison, "it cannot be read")
        with member(other, "late@1") as second:
            exchange.ask("late", b"next")
            assert [delivery.value for delivery in taken(second, 1)] == [b"next"]

    def test_a_new_group_begins_with_what_is_asked_then(self, exchange: Exchange) -> None:
        """Not with what others were asked before."""
        with member(exchange, "late@1") as first:
            exchange.ask("late", b"before")
            taken(first, 1)
            with member(exchange, "late@2") as second:
                exchange.ask("late", b"after")
                assert [delivery.value for delivery in taken(second, 1)] == [b"after"]

    def test_nothing_is_in_the_way_of_asking(self, exchange: Exchange) -> None:
        """While the engine can be reached."""
        Heard(exchange)
        exchange.ask("late", b"question")
        assert not exchange.trouble
