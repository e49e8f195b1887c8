"""How long a request log is kept, and how the writer forgets what is older."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace.errors import SettingsError
from headrace.settings import is_number
from headrace.storage.stream import Bounds

_DAY_MS = 24 * 3600 * 1000
_MB = 1_000_000


@dataclass(frozen=True)
class Keep:
    """What of a log is kept; 0 sets no bound.

    Attributes:
        days: Records younger than this.
        mb: About so many megabytes of the newest.

    Raises:
        SettingsError: A value is negative or no number.
    """

    days: float = 0.0
    mb: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("keep_days", self.days), ("keep_mb", self.mb)):
            if not is_number(value) or not 0 <= value < math.inf:
                raise SettingsError(f"{name} is {value!r}", why="0 or more is due", fix=f"{name} = 30")

    def __bool__(self) -> bool:
        """Whether anything is ever forgotten."""
        return bool(self.days or self.mb)

    def bounds(self) -> Bounds:
        """As streams take them, now."""
        before_ms = int(time.time() * 1000 - self.days * _DAY_MS) if self.days else 0
        return Bounds(before_ms, int(self.mb * _MB))

    def to_json(self) -> dict[str, Any]:
        """As the endpoint's settings name them."""
        return {"keep_days": self.days, "keep_mb": self.mb}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Keep":
        """Back from ``to_json``; what is absent sets no bound."""
        return cls(data.get("keep_days", 0.0), data.get("keep_mb", 0.0))


FOR_EVER = Keep()
"""Nothing is forgotten."""
