"""A deployment and its models, made ready to score: decoders compiled, a scorer for each model, slots filled."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from headrace.errors import SettingsError
from headrace.models.signature import Signature
from headrace.serving.arms import split_up
from headrace.serving.counters import EndpointCounters
from headrace.serving.deployment import Deployment, contract
from headrace.serving.desk import Desk, Errand
from headrace.serving.endpoint import Endpoint
from headrace.serving.join import Join, features
from headrace.serving.lane import Terms
from headrace.serving.log_writer import LogWriter
from headrace.serving.lookups import Lookups
from headrace.serving.masking import Mask
from headrace.serving.outputs import check_default
from headrace.serving.remote import RemoteScorer
from headrace.serving.rendezvous import Live
from headrace.serving.request import projection
from headrace.serving.scorer import Scorer
from headrace.serving.tensors import decoder_of
from headrace.serving.versions import Model

GRACE_S = 0.010
"""An answer within the deadline and this counts as in time."""


@dataclass(frozen=True)
class Place:
    """Where an endpoint scores: what outlives its deployments.

    Attributes:
        loop: The event loop.
        log: Where its requests go; None when it keeps no log.
        counters: Plain numbers about it.
        mask_key: The secret with which columns of the log are masked.
        desk: Where its requests are sent to workers; None to score here.
        lookups: What reads features; None where nothing can be joined.
    """

    loop: asyncio.AbstractEventLoop
    log: LogWriter | None
    counters: EndpointCounters
    mask_key: Callable[[], bytes]
    desk: Desk | None = None
    lookups: Lookups | None = None


def prepared(deployment: Deployment, models: Mapping[str, Model], place: Place) -> Live:
    """What scores the endpoint's requests.

    Args:
        deployment: What is to be served.
        models: Each model version (``late@3``) of the deployment, loaded.
        place: Where.

    Raises:
        SignatureError: The models cannot share an endpoint.
    """
    endpoint = deployment.endpoint
    order = list(dict.fromkeys(deployment.models[ref] for ref in endpoint.scoring))
    signature = contract({name: models[name].signature for name in order})
    check_default(signature, endpoint.default)
    joins = _joins(endpoint, signature, place)
    errand = Errand(tuple(order), order[0], endpoint.deadline_s)
    place.counters.limit_s = endpoint.deadline_s + GRACE_S
    live = Live(
        deployment=deployment,
        signature=signature,
        decoder=decoder_of(signature, endpoint.event_time, joins, narrow=all(models[name].narrow for name in order)),
        lookups=place.lookups if joins else None,
        scorers=[_scorer(models[name], signature, place, _terms(deployment, name), errand) for name in order],
        schedule=[(order.index(deployment.models[p.model]), p.wait_s) for p in endpoint.schedule],
        default=endpoint.default,
        log=place.log,
        wait_for_log=endpoint.log in {"durable", "power-safe"},
        counters=place.counters,
        loop=place.loop,
        mask=Mask(endpoint.mask, place.mask_key()) if endpoint.mask else None,
    )
    for reference in endpoint.standby:
        name = deployment.models[reference]
        if name not in order:
            live.alone[name] = _standby(live, models[name], place)
    split_up(live)
    return live


def _standby(live: Live, model: Model, place: Place) -> Live:
    """A version by itself; it may take other columns than the one that scores, so callers meet its own signature."""
    endpoint = live.deployment.endpoint
    terms = Terms(endpoint.batching, wait_s=endpoint.deadline_s, expire_s=endpoint.deadline_s)
    joins = _joins(endpoint, model.signature, place)
    return Live(
        deployment=live.deployment,
        signature=model.signature,
        decoder=decoder_of(model.signature, endpoint.event_time, joins, narrow=model.narrow),
        lookups=place.lookups if joins else None,
        scorers=[_scorer(model, model.signature, place, terms, Errand((model.name,), model.name, endpoint.deadline_s))],
        schedule=[(0, endpoint.deadline_s)],
        default={},
        log=live.log,
        wait_for_log=live.wait_for_log,
        counters=live.counters,
        loop=live.loop,
        mask=live.mask,
    )


def _joins(endpoint: Endpoint, signature: Signature, place: Place) -> tuple[Join, ...]:
    """Those that add something to what these models take; a version on standby may take none of it."""
    found = tuple(join for join in endpoint.join if features(join, signature))
    if found and place.lookups is None:
        raise SettingsError(f"endpoint {endpoint.name} joins features", why="this server was given no store of them")
    return found


def _scorer(model: Model, contract: Signature, place: Place, terms: Terms, errand: Errand) -> Scorer:
    project, counters = projection(contract, model.signature), place.counters.scorers[model.name]
    if place.desk is not None:
        return RemoteScorer(model, place.desk, errand, project=project, terms=terms, counters=counters)
    return Scorer(model, project=project, post=place.loop.call_soon_threadsafe, terms=terms, counters=counters)


def _terms(deployment: Deployment, version: str) -> Terms:
    """A scheduled model's score is wanted by its time and useless after the deadline.

    The others' are for the log: they may come late, and to keep few of them waiting costs no caller an answer.
    """
    endpoint = deployment.endpoint
    waits = [p.wait_s for p in endpoint.schedule if deployment.models[p.model] == version]
    if not waits:
        return Terms(replace(endpoint.batching, max_queue_rows=endpoint.batching.max_batch_rows))
    return Terms(endpoint.batching, wait_s=max(waits), expire_s=endpoint.deadline_s)
