"""Online features: the values of some entities at once, from one version of a view."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from headrace.features.view import FeatureView

Key = tuple[str | int | bool, ...]
"""What names an entity: one value for each of the view's keys, in their order."""
Cells = tuple[Any, ...]
"""Features of an entity: one value for each of the view's columns, in their order; None for null."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was read.

    Attributes:
        view: The one version that all rows are of.
        rows: For each key that was asked for its features; None where the view has no such entity.
    """

    view: FeatureView
    rows: Sequence[Cells | None]


class OnlineFeatures(Protocol):
    """Port: the newest features of each entity, read by key; safe to share between threads and processes."""

    def write(self, view: FeatureView, rows: Iterable[tuple[Key, Cells]]) -> None:
        """Put a version of a view in the place of the one before, whole.

        Readers see the old rows until all of the new ones are there, and within 100 ms the new ones only. When this
        returns they survive the death of the process; when it raises, or the process dies before, the old ones stay.

        Args:
            view: The version.
            rows: Each entity once, consumed as it is written: memory holds some of them.

        Raises:
            UsageError: An entity comes twice.
            Conflict: Somebody else writes this view at the same time.
            Unavailable: It cannot be written.
        """

    def read(self, name: str, keys: Sequence[Key]) -> Found:
        """Features of entities, in the order of ``keys``; none for no keys, which says what version is there.

        Raises:
            NotFound: There is no such view.
            IntegrityError: What is kept is not what was written.
            Unavailable: It cannot be read.
        """

    def at_hand(self, name: str, keys: Sequence[Key]) -> Found | None:
        """The same, of what this process has in memory already; None for whatever might have to be waited for.

        An event loop calls it: it touches no disk and no network, waits for no other thread, and raises nothing. An
        engine may know nothing at hand, ever.
        """

    def close(self) -> None:
        """Release what is open; what was written stays."""
