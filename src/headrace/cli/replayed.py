"""How a replay reads on a terminal."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from headrace.cli.output import aligned

if TYPE_CHECKING:
    from headrace.delivery.replay import Replayed

_NAMES = {
    "error_rate": "requests without a score",
    "disagreement": "rows that differ",
    "mean_difference": "mean difference",
    "score_psi": "PSI of the scores",
    "p50_ms": "p50 of one request, ms",
    "p99_ms": "p99 of one request, ms",
}


def lines(found: "Replayed") -> Iterator[str]:
    """Lines for ``journey.replay``'s result: numbers, slices, the requests that failed or differ most."""
    yield f"{found.model} on {found.requests + found.failed:,} logged requests of {found.endpoint}"
    left_out = {
        "no model had answered, or otherwise": found.skipped,
        "it had answered itself": found.own,
        "are masked in the log": found.masked,
    }
    said = [f"{count:,} {which}" for which, count in left_out.items() if count]
    if said:
        yield f"left out: {', '.join(said)}"
    yield "answered by " + ", ".join(f"{model} {count:,}" for model, count in found.answered_by.items())
    fast = f", {found.speed:,.0f} times as fast as it came" if found.span_s else ""
    yield f"replayed in {found.took_s:.2f} s{fast}"
    yield ""
    rows = [
        {"what": _NAMES.get(name, name), "answered": found.champion.get(name), "candidate": value}
        for name, value in found.numbers.items()
    ]
    yield from aligned(rows, ["what", "answered", "candidate"])
    for column, sides in found.slices.items():
        yield ""
        yield from aligned([{column: c, **side} for c, side in sides.items()], [column, *next(iter(sides.values()))])
    if found.failures:
        yield ""
        yield f"no score: {found.failed:,} requests, the first of them"
        yield from aligned([{"id": i, "why": why} for i, why in found.failures], ["id", "why"])
    if found.worst:
        yield ""
        yield "differing most: headrace serving explain ID"
        yield from aligned([{"id": i, "difference": gap} for i, gap in found.worst], ["id", "difference"])
