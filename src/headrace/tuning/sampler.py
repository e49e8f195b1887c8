"""Sampler port: propose settings, hear how they did."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol


@dataclass(frozen=True)
class Dimension:
    """One searched parameter.

    Attributes:
        kind: ``log_uniform`` and ``uniform`` draw a float in [low, high], ``integer`` a whole number in it, ``choice``
            one of ``values``.
        low: Lower end.
        high: Upper end.
        values: What ``choice`` chooses from.
    """

    kind: Literal["log_uniform", "uniform", "integer", "choice"]
    low: float = 0.0
    high: float = 0.0
    values: Sequence[Any] = ()


Tried = tuple[Mapping[str, Any], float]
"""Settings and the score they reached."""


@dataclass(frozen=True)
class Study:
    """What is searched for.

    Attributes:
        space: Parameter to its dimension.
        maximize: Whether a larger score is better.
        seed: Of the sampler.
    """

    space: Mapping[str, Dimension]
    maximize: bool
    seed: int = 0


class Sampler(Protocol):
    """Port: a search strategy over a space. The same study and history propose the same settings."""

    def ask(self, study: Study, history: Sequence[Tried], *, count: int) -> list[dict[str, Any]]:
        """The next ``count`` settings to try, given those tried so far in the order they were proposed."""
