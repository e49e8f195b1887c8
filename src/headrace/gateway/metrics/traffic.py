"""Who is preferred now: the version that a schedule is headed by, shares of a split, and how far a canary is.

Names follow Prometheus' practice: ``_info`` is 1 with what it says in its labels, ``_ratio`` a part of 1.
"""

from collections.abc import Iterator

from headrace.gateway.metrics.exposition import Family, Labels, Value
from headrace.serving.dataplane import DataPlane
from headrace.serving.deployment import Deployment

Samples = list[tuple[Labels, Value]]


def families(plane: DataPlane) -> Iterator[Family]:
    """Of endpoints that serve; a canary's numbers are there while it lasts."""
    known = {name: plane.status(name).deployment for name in plane.names}
    serving = {name: deployment for name, deployment in known.items() if deployment is not None}
    live: Samples = [
        ({"endpoint": name, "model": _preferred(one), "deployment": str(one.seq)}, 1) for name, one in serving.items()
    ]
    text = "The model version that the endpoint's schedule prefers, and the deployment that says so: always 1."
    yield Family("headrace_live_info", text, "gauge", live)
    shares: Samples = [
        ({"endpoint": name, "model": model}, share)
        for name, one in serving.items()
        for model, share in _shares(one, drawing=bool(plane.live(name).arms)).items()
    ]
    yield Family("headrace_share_ratio", "Part of the requests that prefer the model version.", "gauge", shares)
    yield from _canaries(
        {name: one for name, one in serving.items() if one.canary is not None and plane.live(name).arms}
    )


def _canaries(running: dict[str, Deployment]) -> Iterator[Family]:
    share: Samples = []
    step: Samples = []
    for name, one in running.items():
        assert one.canary is not None
        labels = {"endpoint": name, "model": one.models[one.canary.candidate]}
        share.append((labels, one.canary.share))
        step.append((labels, one.canary.step + 1))
    if running:
        yield Family("headrace_canary_share_ratio", "Part of the requests that the candidate has.", "gauge", share)
        yield Family("headrace_canary_step", "Which of its canary's steps that is, from 1.", "gauge", step)


def _preferred(deployment: Deployment) -> str:
    return deployment.models[deployment.endpoint.schedule[0].model]


def _shares(deployment: Deployment, *, drawing: bool) -> dict[str, float]:
    """Each version that is drawn with its share, and the one that has the rest: together 1."""
    said = deployment.endpoint.split.shares if drawing else {}
    found = dict.fromkeys([_preferred(deployment)], 0.0)
    for model, share in said.items():
        found[deployment.models[model]] = found.get(deployment.models[model], 0.0) + share
    found[_preferred(deployment)] += max(0.0, 1.0 - sum(said.values()))
    return found
