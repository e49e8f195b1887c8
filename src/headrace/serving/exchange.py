"""The exchange: where front doors and workers of an endpoint meet, whatever processes and hosts they run in.

A front door asks once, and every group of workers (one for each model version) is given the question; a group's members
share its questions. Answers come back to the address that the front door named. All of it happens at least once: who
answers may have answered before, and who asked takes an answer once.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from headrace.models.params import NO_PARAMS, Params
from headrace.serving.frames import Array

MOST_TRIES = 2
"""A question that a model died of so often is set aside; a third time would open the breaker of its worker process."""


class Asked(msgspec.Struct, array_like=True, tag="asked", frozen=True):
    """A request, as every worker of the endpoint gets it.

    Attributes:
        id: Of the request (UUIDv7).
        address: Where answers go.
        wanted: Model versions that are to score it; workers of others pass it over.
        contract: The model version whose inputs the batch holds.
        sent_ms: When it was sent, in Unix milliseconds of the front door's clock.
        expires_ms: So long after that its deadline is over.
        count: Rows.
        batch: What models take.
        params: What its caller said besides.
        signature: By which of the models' signatures; empty for the one they serve unasked.
    """

    id: str
    address: int
    wanted: tuple[str, ...]
    contract: str
    sent_ms: float
    expires_ms: float
    count: int
    batch: list[Array]
    params: Params = NO_PARAMS
    signature: str = ""


class Scored(msgspec.Struct, array_like=True, tag="scored", frozen=True):
    """What one model version made of a request.

    Attributes:
        id: Of the request.
        model: The version (``late@3``).
        worker: Who scored it.
        outputs: Output name to values; empty when it failed.
        error: Why it failed.
        came_ms: When the worker took it up, in Unix milliseconds of its clock.
        waited_s: How long it waited there for the model.
        took_s: How long the model took.
    """

    id: str
    model: str
    worker: str
    outputs: list[Array]
    error: str
    came_ms: float
    waited_s: float
    took_s: float


class Present(msgspec.Struct, array_like=True, tag="present", frozen=True):
    """A worker says that it is there, every second.

    Attributes:
        worker: Its name: host and process.
        versions: Model version to why it does not score now; empty when it does.
        leaving: Whether this is the last time.
    """

    worker: str
    versions: Mapping[str, str]
    leaving: bool = False


class Delivery(NamedTuple):
    """A question as one member of a group is given it.

    Attributes:
        value: An ``Asked``, packed.
        tries: How many members did not finish it before.
        alone: It may be what a member died of: to be finished before more are taken.
        place: Where it lies; for the engine.
    """

    value: bytes
    tries: int
    alone: bool
    place: tuple[int, int]


class Group(Protocol):
    """One member of a group; one thread uses it."""

    @property
    def joined(self) -> bool:
        """Whether what is asked from now on reaches this group."""

    def take(self, within_s: float, most: int) -> Sequence[Delivery]:
        """At most so many questions; none when none came in time."""

    def done(self, deliveries: Sequence[Delivery]) -> None:
        """They are finished: no member is given them again."""

    def set_aside(self, delivery: Delivery, why: str) -> None:
        """Keep a question for people to look at; it is finished."""

    def close(self) -> None:
        """Leave; what is finished is remembered first."""


class Exchange(Protocol):
    """Port: carries questions and answers; safe to share between threads. Nothing here waits but what says so."""

    @property
    def trouble(self) -> str:
        """Why nothing can be asked now; empty when it can."""

    def ask(self, endpoint: str, message: bytes) -> None:
        """Send a question to every group of an endpoint; raise ``Unavailable`` when it cannot be sent."""

    def tell(self, endpoint: str, message: bytes, address: int | None = None) -> None:
        """Send to the front door of an endpoint that has this address, or to all; raise ``Unavailable`` as ``ask``."""

    def listen(self, endpoint: str, take: Callable[[Sequence[bytes]], None]) -> int:
        """Have ``take`` called with what comes from now on; return the address for answers. Waits for the brokers.

        Args:
            endpoint: Its name.
            take: Called on a thread of the engine.

        Raises:
            Unavailable: No broker answers.
        """

    def join(self, endpoint: str, group: str) -> Group:
        """Become a member of the group of an endpoint. Waits for the brokers; raises ``Unavailable``."""


pack = msgspec.msgpack.Encoder().encode
"""A message's bytes."""

questions = msgspec.msgpack.Decoder(Asked)
"""Reads what workers are given; raises ``msgspec.DecodeError``."""

answers = msgspec.msgpack.Decoder(Scored | Present)
"""Reads what front doors are given; raises ``msgspec.DecodeError``."""
