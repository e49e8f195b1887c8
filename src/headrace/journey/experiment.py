"""Use case: judge the experiment that runs on an endpoint, and record the verdict."""

from headrace.delivery.experiment import KIND, Asked, Experiment, begun, judge
from headrace.errors import NotFound
from headrace.journey.platform import Platform
from headrace.monitoring.labels import reader
from headrace.serving.deployment import history
from headrace.serving.log import RequestLog
from headrace.storage.ledger import Fact


def judge_experiment(platform: Platform, endpoint: str, asked: Asked, since: float = 0.0) -> Experiment:
    """Compare the models that an endpoint's split draws, by the labels that have come in.

    Args:
        platform: Where the ledger, the log and the labels are.
        endpoint: Its name.
        asked: How.
        since: Unix seconds from which requests count; 0 for as long as the split stands.

    Raises:
        NotFound: No such endpoint, nothing is split there, or no label was ever kept.
        UsageError: See ``delivery.experiment.judge``.
    """
    ledger, stream = platform.ledger(), platform.stream()
    deployments = history(ledger, endpoint)
    if not deployments:
        raise NotFound(f"no endpoint named {endpoint!r}", fix="headrace serving ls")
    deployment, start = begun(deployments)
    start = since or start
    labels = reader(stream, endpoint)
    if labels is None:
        raise NotFound(
            f"endpoint {endpoint} has no labels yet",
            why="what became of the requests is what models are compared by",
            fix=f"headrace monitor label {endpoint} FILE",
        )
    found = judge(deployment, start, RequestLog(stream, endpoint).between(int(start * 1000)), labels, asked)
    ledger.append([Fact(KIND, endpoint, found.to_json())])
    return found
