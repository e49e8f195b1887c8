"""Evidence for the rubric: what the ledger and the request logs hold about the models that are served."""

import time
from dataclasses import dataclass
from functools import cached_property

from headrace.errors import NotFound, UsageError
from headrace.journey.rubric import RUBRIC
from headrace.models import registry
from headrace.models.version import ModelVersion
from headrace.serving import deployment
from headrace.serving.deployment import Deployment
from headrace.serving.log import RequestLog
from headrace.serving.records import Prediction
from headrace.storage.ledger import Fact, Ledger
from headrace.storage.stream import Stream

ATTESTED = "doctor.attested"
ATTESTATION_DAYS = 180
"""What was done by hand and written down counts for this long."""

SAMPLE = 500
"""Logged predictions looked at, per endpoint."""

_DAY_S = 24 * 3600


@dataclass(frozen=True)
class Evidence:
    """Facts of one project, read once.

    Attributes:
        ledger: Where facts are.
        stream: Where request logs are.
    """

    ledger: Ledger
    stream: Stream

    def facts(self, kind: str, subject: str | None = None) -> list[Fact]:
        """All facts of a kind, oldest first."""
        return self.ledger.query(kind, subject)

    @cached_property
    def deployments(self) -> list[Deployment]:
        """Every deployment, oldest first."""
        return deployment.history(self.ledger)

    @cached_property
    def live(self) -> dict[str, Deployment]:
        """Endpoint to what it serves now."""
        return {d.endpoint.name: d for d in self.deployments}

    @cached_property
    def models(self) -> list[ModelVersion]:
        """What is served now; the newest version of every model while nothing is deployed."""
        served = {version for d in self.live.values() for version in d.models.values()}
        if served:
            return [registry.find(self.ledger, reference) for reference in sorted(served)]
        return list({v.name: v for v in registry.versions(self.ledger)}.values())

    @cached_property
    def datasets(self) -> set[str]:
        """Dataset versions (``orders@1``) that these models were trained on."""
        return {reference for model in self.models for reference in model.datasets}

    @cached_property
    def gates(self) -> set[str]:
        """Names of the gates that held in the runs that registered these models."""
        return {gate for model in self.models for gate in self.gates_of(model)}

    def gates_of(self, model: ModelVersion) -> set[str]:
        """Names of the gates that held in the run that registered ``model``, now or, cached, in a run before."""
        steps = [fact.body for fact in self.facts("run.step", model.run)] if model.run else []
        return {step["name"] for step in steps if step["kind"] == "gate" and step["state"] in {"done", "cached"}}

    @cached_property
    def predictions(self) -> list[Prediction]:
        """Some logged predictions of what is deployed."""
        return [p for name in self.live for _, p in RequestLog(self.stream, name).predictions(limit=SAMPLE)]

    def monitored(self, kind: str) -> list[Fact]:
        """Facts that monitoring recorded about the deployed endpoints."""
        return [fact for name in self.live for fact in self.facts(kind, name)]


def attest(ledger: Ledger, test: str, note: str, *, who: str) -> Fact:
    """Record that a test of the rubric was done by hand, with what came out.

    Raises:
        NotFound: The rubric has no such test.
        UsageError: The note is empty.
    """
    if test not in {t.id for t in RUBRIC}:
        raise NotFound(f"no test {test!r} in the rubric", fix="headrace doctor lists them: data.1 to monitoring.7")
    if not note.strip():
        raise UsageError(f"test {test} was attested without a note", fix="--note 'what was done, and what came out'")
    return ledger.append([Fact(ATTESTED, test, {"note": note, "who": who})])[0]


def attestations(ledger: Ledger) -> dict[str, Fact]:
    """Test to its newest attestation that still counts."""
    oldest = time.time() - ATTESTATION_DAYS * _DAY_S
    return {fact.subject: fact for fact in ledger.query(ATTESTED) if fact.at >= oldest}
