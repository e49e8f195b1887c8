"""Prometheus' text format, version 0.0.4."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from headrace.serving.counters import BOUNDS_S, Histogram

Labels = Mapping[str, str]
_ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(frozen=True, slots=True)
class Buckets:
    """What a histogram says.

    Attributes:
        bounds: Upper bounds, rising, without the open last one.
        counts: At or below each bound, then all.
        total: Sum of what was counted.
    """

    bounds: Sequence[float]
    counts: Sequence[int]
    total: float


Value = int | float | Buckets


@dataclass(frozen=True)
class Family:
    """One metric.

    Attributes:
        name: With its unit.
        text: What it means, on one line.
        kind: What its values are; those of a histogram are ``Buckets``.
        samples: Labels, alike in all of them, and value.
    """

    name: str
    text: str
    kind: Literal["counter", "gauge", "histogram"]
    samples: Sequence[tuple[Labels, Value]] = field(default=())


def page(families: Iterable[Family]) -> str:
    """The text that Prometheus reads."""
    return "".join(f"{line}\n" for family in families for line in _lines(family))


def seconds(histogram: Histogram) -> Buckets:
    """A histogram as it is kept."""
    return Buckets(BOUNDS_S, histogram.cumulative(), histogram.total_s)


def microseconds(histogram: Histogram) -> Buckets:
    """The same in the unit of other servers."""
    return Buckets([round(bound * 1e6) for bound in BOUNDS_S], histogram.cumulative(), histogram.total_s * 1e6)


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {family.text}"
    yield f"# TYPE {family.name} {family.kind}"
    for labels, value in family.samples:
        if isinstance(value, Buckets):
            for bound, count in zip((*map(repr, value.bounds), "+Inf"), value.counts, strict=True):
                yield f"{family.name}_bucket{_braced({**labels, 'le': bound})} {count}"
            yield f"{family.name}_sum{_braced(labels)} {value.total}"
            yield f"{family.name}_count{_braced(labels)} {value.counts[-1]}"
        else:
            yield f"{family.name}{_braced(labels)} {value}"


def _braced(labels: Labels) -> str:
    said = ",".join(f'{name}="{value.translate(_ESCAPED)}"' for name, value in labels.items())
    return f"{{{said}}}" if said else ""
