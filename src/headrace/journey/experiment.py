"""Use case: judge the experiment that runs on an endpoint, and record the verdict."""

import math
from dataclasses import replace
from datetime import UTC, datetime

from headrace.delivery.experiment import KIND, Asked, Experiment, begun, judge
from headrace.delivery.traffic import unknown
from headrace.errors import NotFound, UsageError
from headrace.journey.logged import Tell, paged, unheard
from headrace.journey.platform import Platform
from headrace.monitoring.labels import reader
from headrace.serving.deployment import history
from headrace.serving.log import RequestLog
from headrace.storage.ledger import Fact


def judge_experiment(
    platform: Platform, endpoint: str, asked: Asked, since: float = 0.0, progress: Tell = unheard
) -> Experiment:
    """Compare the models that an endpoint's split draws, by the labels that have come in.

    Args:
        platform: Where the ledger, the log and the labels are.
        endpoint: Its name.
        asked: How.
        since: Unix seconds from which requests count; 0 for as long as these shares stand.
        progress: Told how many requests were read, and about how many there are.

    Raises:
        NotFound: No such endpoint, nothing is split there, or no label was ever kept.
        UsageError: Other shares stood at ``since``, or see ``delivery.experiment.judge``.
    """
    ledger, stream = platform.ledger(), platform.stream()
    deployments = history(ledger, endpoint)
    if not deployments:
        raise unknown(ledger, endpoint)
    standing = begun(deployments)
    if since:
        standing = replace(standing, since=counted_from(standing.since, since))
    labels = reader(stream, endpoint)
    if labels is None:
        raise NotFound(
            f"endpoint {endpoint} has no labels yet",
            why="what became of the requests is what models are compared by",
            fix=f"headrace monitor label {endpoint} FILE",
        )
    found = judge(standing, paged(RequestLog(stream, endpoint), standing.since, progress), labels, asked)
    ledger.append([Fact(KIND, endpoint, found.to_json())])
    return found


def counted_from(begun_at: float, since: float) -> float:
    """The moment from which requests count.

    Args:
        begun_at: Unix seconds since which the shares stand.
        since: Unix seconds that somebody asks for.

    Raises:
        UsageError: Other shares stood then.
    """
    if since < math.floor(begun_at):  # when it began is said in whole seconds
        moment = datetime.fromtimestamp(begun_at, UTC).isoformat(" ", "seconds").removesuffix("+00:00")
        raise UsageError(
            "these shares did not stand yet",
            where=f"since {moment}Z",
            why="requests that were drawn otherwise cannot be compared with those drawn now",
            fix="leave out --since, or name a later moment",
        )
    return max(since, begun_at)
