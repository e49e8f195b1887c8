"""How a split and a canary under way read on a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

Row = Mapping[str, Any]


def lines(split: Row | None, canary: Row | None) -> Iterator[str]:
    """Who has which share, how far the canary is, and how its rules stand; nothing where nothing is split.

    Args:
        split: ``client.overview.Shares``, as JSON.
        canary: ``client.overview.Canary``, as JSON.
    """
    if canary is not None:
        yield from _canary(canary, by=_by(split))
    elif split is not None:
        parts = ", ".join(f"{model} {share * 100:g} %" for model, share in split["models"].items())
        yield f"split: {parts}{_by(split)}"


def _canary(canary: Row, *, by: str) -> Iterator[str]:
    share = canary["shares"][canary["step"] - 1]
    yield f"canary of {canary['candidate']}: {share * 100:g} %{by}, step {canary['step']} of {len(canary['shares'])}"
    yield (
        f"  for {canary['lasted_s']:,.0f} s of {canary['every_s']:,.0f} s at least, "
        f"{canary['met']:,} requests of {canary['least']:,} at least"
    )
    yield from (f"  {rule['said']} - {rule['state']}" for rule in canary["rules"])


def _by(split: Row | None) -> str:
    return f" by {split['key']}" if split and split["key"] else ""
