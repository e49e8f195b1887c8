"""Features that are right at a point in time, defined once for training and serving."""

from headrace.features.point_in_time import latest as latest
from headrace.features.point_in_time import recent as recent

__all__ = ["latest", "recent"]
