"""How endpoints and their versions are, for every protocol that tells."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from headrace.refs import Ref
from headrace.serving.deployment import Deployment
from headrace.serving.rendezvous import Live

State = Literal["loading", "serving", "failed", "unloaded"]
VersionState = Literal["loading", "available", "unloading", "unloaded", "failed"]


@dataclass(frozen=True)
class Note:
    """How a model version is.

    Attributes:
        state: Being loaded; loaded; answering its last requests; unloaded on purpose; or tried and found bad.
        why: What is wrong with it; of one that is loaded, why it does not score now.
    """

    state: VersionState
    why: str = ""


@dataclass(frozen=True)
class Status:
    """How an endpoint is.

    Attributes:
        name: The endpoint.
        state: ``loading``, ``serving``, ``failed`` (nothing could be loaded yet) or ``unloaded`` (on purpose).
        deployment: In force; None unless serving.
        refused: Why what is aspired is not in force; empty when it is.
        models: Model version that scores each request to how it runs: ``inline``, ``thread`` or ``breaker open``.
        versions: Every model version that is loaded, or about which something is known; those that serve first.
        log: Why its request log cannot be written; empty when it can, or it keeps none.
    """

    name: str
    state: State
    deployment: Deployment | None
    refused: str
    models: Mapping[str, str]
    versions: Mapping[str, Note]
    log: str = ""

    @property
    def wrong(self) -> str:
        """What is wrong with the endpoint as a whole; empty when nothing is."""
        unlogged = self.log and f"its requests are not logged: {self.log}"
        return "; ".join(said for said in (self.refused, unlogged) if said)

    @property
    def own(self) -> Mapping[int, Note]:
        """Versions by number, of the model that callers address: the one that the schedule prefers."""
        refs = {Ref.parse(name): note for name, note in self.versions.items()}
        first = next(iter(refs), None)
        return {ref.version: note for ref, note in refs.items() if first and ref.name == first.name and ref.version}


def status_of(name: str, live: Live | None, notes: Mapping[str, Note], *, refused: str, unloaded: str) -> Status:
    """The status of an endpoint.

    Args:
        name: The endpoint.
        live: What serves it.
        notes: What is known of versions that do not serve.
        refused: Why what is aspired is not in force.
        unloaded: Why it was unloaded.
    """
    if live is not None:
        available = {version: Note("available", scorer.trouble) for version, scorer in live.loaded.items()}
        rest = {version: note for version, note in notes.items() if version not in available}
        models = {scorer.name: scorer.state for scorer in live.scorers}
        log = live.log.trouble if live.log is not None else ""
        return Status(name, "serving", live.deployment, refused, models, available | rest, log)
    if unloaded:
        return Status(name, "unloaded", None, unloaded, {}, notes)
    return Status(name, "failed" if refused else "loading", None, refused, {}, notes)


def waiting(lives: Iterable[Live]) -> Mapping[tuple[str, str], int]:
    """Endpoint and model version, each that is loaded, to how many requests wait for it now."""
    found: Counter[tuple[str, str]] = Counter()
    for live in lives:
        for scorer in live.queues:
            found[live.deployment.endpoint.name, scorer.name] += scorer.waiting
    return found
