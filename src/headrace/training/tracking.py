"""Tracking port: a mirror of what the ledger says about training, for people who look at it elsewhere."""

from collections.abc import Mapping
from typing import Any, Protocol


class Tracking(Protocol):
    """Port: write one finished training run to a tracking server; the ledger stays the truth."""

    def mirror(
        self,
        experiment: str,
        name: str,
        *,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
    ) -> str:
        """Log a finished run in one batch; return the server's id of it. The same ``tags["key"]`` is written once."""

    def address(self) -> str:
        """What to point the server's own client or UI at."""
