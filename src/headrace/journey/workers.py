"""A worker process of an endpoint: it scores what front doors ask over the exchange."""

import os
from collections.abc import Sequence
from functools import partial

from headrace.journey.platform import Platform
from headrace.serving.stations import Stations, worker_name
from headrace.serving.versions import load_model


def worker(platform: Platform, endpoint: str, only: Sequence[str] = ()) -> Stations:
    """The stations of this process.

    Args:
        platform: Of the project.
        endpoint: Whose requests are scored.
        only: Model versions or models (``late@3``, ``late``) to score with; empty for all that are deployed.

    Raises:
        SettingsError: The project's stream carries nothing between processes.
    """
    return Stations(
        endpoint,
        ledger=platform.ledger(),
        load=partial(load_model, platform.ledger(), platform.files(), platform.runtime),
        exchange=platform.exchange(),
        worker=worker_name(os.getpid()),
        only=only,
    )
