"""Serving's plain numbers for Prometheus, under headrace's names and under those of other servers."""

from collections.abc import Callable, Iterable, Mapping

from headrace.gateway.metrics import own, process, tensorflow, traffic, triton
from headrace.gateway.metrics.exposition import Family, page
from headrace.serving.dataplane import DataPlane

_FAMILIES: Mapping[str, Callable[[DataPlane], Iterable[Family]]] = {
    "headrace": lambda plane: (*own.families(plane), *traffic.families(plane), *process.families()),
    "tensorflow": tensorflow.families,
    "triton": triton.families,
}


def rendered(plane: DataPlane, names: Iterable[str] = ("headrace",)) -> str:
    """All metrics of a data plane, as text.

    Args:
        plane: What is told of.
        names: Whose names they get; each metric is there once under every one's.
    """
    return page(family for name in names for family in _FAMILIES[name](plane))
