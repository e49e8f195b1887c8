"""The arms of a split endpoint: the same loaded models, in another order of preference for each."""

from collections.abc import Mapping

from headrace.serving.arrival import Arrival
from headrace.serving.rendezvous import Live
from headrace.serving.request import Input
from headrace.serving.split import drawn

_LONGEST = 256


def split_up(live: Live) -> None:
    """Give ``live`` its arms, if its endpoint is split: one for each of ``shares``, and one more for the rest."""
    endpoint, models = live.deployment.endpoint, live.deployment.models
    if not endpoint.split:
        return
    names = [scorer.name for scorer in live.scorers]
    for reference in endpoint.shares:
        first = [line for line in live.schedule if names[line[0]] == models[reference]][:1]
        rest = [line for line in live.schedule if line not in first]
        live.arms.append(live.varied(schedule=first + rest, drawn=models[reference]))
    live.arms.append(live.varied(drawn=names[live.schedule[0][0]]))


def arm(live: Live, identifier: str, given: Input, arrival: Arrival | None) -> tuple[Live, str]:
    """The arm that scores a request, and the key that drew it; ``live`` itself for a request that is no part of it.

    Args:
        live: With arms.
        identifier: Of the request.
        given: Its rows.
        arrival: It, as it came.
    """
    endpoint = live.deployment.endpoint
    split = endpoint.split
    key = _key(live, given, arrival) if split.key else ""
    if split.key and not key:
        return live, ""
    which = drawn(tuple(endpoint.shares.values()), key or identifier, endpoint.name)
    return live.arms[which], key[:_LONGEST]


def _key(live: Live, given: Input, arrival: Arrival | None) -> str:
    wanted, names = live.deployment.endpoint.split.key, live.decoder.names
    if wanted not in names:
        return arrival.header(wanted.lower()) if arrival else ""
    if isinstance(given.cells, Mapping):
        cell = given.cells[wanted]
        return str(cell.flat[0]) if cell.size else ""
    cell = given.cells[0][names.index(wanted)]
    return "" if cell is None else str(cell)
