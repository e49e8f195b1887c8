"""Sampler port: propose settings, hear how they did."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol


@dataclass(frozen=True)
class Dimension:
    """One searched parameter.

    Attributes:
        kind: ``log_uniform`` and ``uniform`` draw a float in [low, high], ``integer`` a whole number, ``choice`` a value.
        low: Lower end.
        high: Upper end.
        values: What ``choice`` chooses from.
    """

    kind: Literal["log_uniform", "uniform", "integer", "choice"]
    low: float = 0.0
    high: float = 0.0
    values: Sequence[Any] = ()


class Sampler(Protocol):
    """Port: a search strategy over a space. The same seed and history propose the same settings."""

    def ask(
        self,
        space: Mapping[str, Dimension],
        history: Sequence[tuple[Mapping[str, Any], float]],
        *,
        maximize: bool,
        count: int,
    ) -> list[dict[str, Any]]:
        """The next ``count`` settings to try, given settings and their scores so far."""
