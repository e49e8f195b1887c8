"""Features that are right at a point in time, defined once for training and serving."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.features.point_in_time import latest as latest
    from headrace.features.point_in_time import recent as recent

__all__ = ["latest", "recent"]


def __getattr__(name: str) -> Any:
    """Load a public name: joins take a table library's time to import, and who only looks a view up needs none."""
    if name not in __all__:
        raise AttributeError(f"module 'headrace.features' has no attribute {name!r}")
    from headrace.features import point_in_time

    return getattr(point_in_time, name)
