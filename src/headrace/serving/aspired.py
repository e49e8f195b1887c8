"""What is to be served: a source says it, the keeper brings it about (docs/decisions)."""

import threading
import time
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple, Protocol

from headrace.errors import HeadraceError, RunFailed
from headrace.serving.deployment import Deployment
from headrace.serving.versions import Model

_DELAYS_S = (0.2, 1.0, 4.0, 10.0, 30.0)


Moved = Callable[[str, str, int], None]
"""Told that an alias of a model now means a version; 0 for none any more."""


def _nothing() -> None:
    """What is loaded leaves nothing behind."""


@dataclass(frozen=True)
class Wanted:
    """A model version that is to be loaded.

    Attributes:
        name: ``late@3``.
        key: What it is: versions with the same key are loaded once, whoever wants them.
        load: Brings it into memory and proves it.
        discard: Cleans up after it was unloaded.
    """

    name: str
    key: str
    load: Callable[[], Model] = field(compare=False)
    discard: Callable[[], None] = field(default=_nothing, compare=False)


@dataclass(frozen=True)
class Aspired:
    """What an endpoint is to be.

    Attributes:
        deployment: The endpoint with its references resolved.
        wanted: Each model version of the deployment.
    """

    deployment: Deployment
    wanted: Mapping[str, Wanted]


class Refusals(NamedTuple):
    """Why the newest of what a source says is not served.

    Attributes:
        why: About the endpoint; empty when the newest is served, or may yet be.
        versions: Model version to what is wrong with it.
        known: Whether there is such an endpoint.
    """

    why: str = ""
    versions: Mapping[str, str] = MappingProxyType({})
    known: bool = True


class Source(Protocol):
    """Says what each endpoint is to be. Methods are called by several threads."""

    @property
    def every_s(self) -> float:
        """Seconds from one poll to the next."""

    @property
    def settled(self) -> bool:
        """Whether the last poll told of all that there is, and nothing is on its way that a later one will."""

    def poll(self, again: str = "") -> Collection[str]:
        """Endpoints that may have changed since the last call, in order; what failed of ``again`` may be tried anew."""

    def aspired(self, name: str) -> Aspired | None:
        """What ``name`` is to be: the newest that was not refused; None for nothing."""

    def failed(self, aspired: Aspired, version: str, error: Exception) -> None:
        """Take note that it could not be served, so that ``aspired`` says something else now.

        Args:
            aspired: What was tried.
            version: The model version that is to blame; empty when it is none of them.
            error: What went wrong.
        """

    def refusals(self, name: str) -> Refusals:
        """Why the newest is not served."""


@dataclass
class _Failure:
    why: str
    times: int
    again_at: float


class Failures:
    """What failed, and when it may be tried again; may be shared between threads.

    What a check refused stays refused. What may be the machine's fault (a worker that died, memory, a disk) is tried
    again, later each time and a few times only; what is retryable by its type, for ever.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[Hashable, _Failure] = {}

    def add(self, key: Hashable, error: Exception) -> str:
        """Remember a failure; return it in words."""
        why = str(error) or type(error).__name__
        with self._lock:
            before = self._found.get(key)
            times = before.times + 1 if before else 1
            self._found[key] = _Failure(why, times, time.monotonic() + _delay_s(error, times))
        return why

    def stands(self, key: Hashable) -> bool:
        """Whether it failed and is not to be tried now."""
        with self._lock:
            found = self._found.get(key)
            return found is not None and time.monotonic() < found.again_at

    def why(self, key: Hashable) -> str:
        """What went wrong; empty when nothing did."""
        with self._lock:
            found = self._found.get(key)
            return found.why if found else ""

    def final(self, key: Hashable) -> bool:
        """Whether it failed and is tried no more, unless somebody asks for that."""
        with self._lock:
            found = self._found.get(key)
            return found is not None and found.again_at == float("inf")

    def due(self) -> list[Hashable]:
        """What is to be tried again now."""
        now = time.monotonic()
        with self._lock:
            return [key for key, failure in self._found.items() if failure.again_at <= now]

    def forget(self, which: Callable[[Hashable], bool]) -> None:
        """Forget the failures of some keys."""
        with self._lock:
            for key in [key for key in self._found if which(key)]:
                del self._found[key]


def _delay_s(error: Exception, times: int) -> float:
    retryable = isinstance(error, HeadraceError) and error.retryable
    verdict = isinstance(error, HeadraceError) and not retryable and type(error) is not RunFailed
    if verdict or (times > len(_DELAYS_S) and not retryable):
        return float("inf")
    return _DELAYS_S[min(times, len(_DELAYS_S)) - 1]
