"""A split: for a share of the requests another model of the schedule is preferred, drawn anew or by a sticky key."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from headrace.errors import SettingsError

_BITS = 64
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Split:
    """Which model of a schedule a request prefers.

    Attributes:
        shares: Model reference to its share of the requests; together at most 1. The rest goes by the schedule.
        key: What keeps a caller with the same model: an input column (its first row), or else a header of the request.
            A request without it is no part of the split. Empty: each request is drawn by itself.

    Raises:
        SettingsError: A share is no number of 0 to 1, or together they are more than 1.
    """

    shares: Mapping[str, float] = field(default_factory=dict)
    key: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "shares", {model: share(model, said) for model, said in self.shares.items()})
        total = math.fsum(self.shares.values())
        if total > 1 + _ROUNDING:
            raise SettingsError(f"the shares of the split are {total:g} together", why="1 is all there is")

    def __bool__(self) -> bool:
        """Whether anything is split."""
        return bool(self.shares)

    def to_json(self) -> dict[str, Any]:
        """As the endpoint's settings name them."""
        return {"split": dict(self.shares), "split_key": self.key}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Split":
        """Back from ``to_json``; what is absent is not split."""
        return cls(data.get("split", {}), data.get("split_key", ""))


WHOLE = Split()
"""Nothing is split."""


def share(model: str, said: Any) -> float:
    """A share as people write it, ``0.05`` or ``"5%"``.

    Raises:
        SettingsError: It is neither, or not above 0 and at most 1.
    """
    try:
        if isinstance(said, str):
            value = float(said[:-1]) / 100 if said.endswith("%") else float(said)
        else:
            value = math.nan if isinstance(said, bool) else float(said)
    except (TypeError, ValueError):
        value = math.nan
    if not 0 < value <= 1:
        raise SettingsError(f"the share of {model} is {said!r}", why="more than 0 and at most 1 is due", fix="5%")
    return value


def drawn(shares: Sequence[float], text: str, salt: str) -> int:
    """Which of ``shares`` a text falls into; their number when it falls beside them.

    The same text always falls into the same one. The first and the second share lie at the two ends and grow towards
    each other: a text stays in one while either grows. Further shares lie next to them, in turn, and move as they grow.

    Args:
        shares: Each of 0 to 1, together at most 1.
        text: A key, or the id of a request.
        salt: Texts fall anew for each.
    """
    digest = blake2b(f"{salt}\0{text}".encode(), digest_size=_BITS // 8).digest()
    place, low, high = int.from_bytes(digest) / 2**_BITS, 0.0, 1.0
    for position, width in enumerate(shares):
        if position % 2:
            high -= width
            if place >= high and width:
                return position
        else:
            low += width
            if place < low:
                return position
    return len(shares)
