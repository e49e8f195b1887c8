"""The mirror's outbox: what the ledger says of trials and model versions, written to a tracking server once.

The ledger is the outbox. A ``mirror.flushed`` fact remembers how far it was written; a flush that dies between writing
and remembering writes the same keys again, which the Tracking port takes as already written.
"""

from collections.abc import Mapping
from typing import Any

from headrace.storage.ledger import Fact, Ledger, latest
from headrace.training.tracking import Tracking

KIND = "mirror.flushed"
MIRRORED = ("trial.finished", "model.version")


def pending(ledger: Ledger, tracking: str) -> list[Fact]:
    """Facts that are not yet written to the tracking server at address ``tracking``, in order."""
    flushed = latest(ledger, KIND, tracking)
    after = int(flushed.body["after"]) if flushed else 0
    facts = [fact for kind in MIRRORED for fact in ledger.query(kind, after=after)]
    return sorted(facts, key=lambda fact: fact.seq)


def flush(ledger: Ledger, tracking: Tracking) -> int:
    """Write all that is pending; return how many runs were written.

    Args:
        ledger: The truth.
        tracking: The mirror; contacted only when something is pending.
    """
    facts = pending(ledger, tracking.address())
    for fact in facts:
        if fact.kind == "trial.finished":
            _trial(tracking, fact)
        else:
            _version(tracking, fact)
    if facts:
        ledger.append([Fact(KIND, tracking.address(), {"after": facts[-1].seq})])
    return len(facts)


def _trial(tracking: Tracking, fact: Fact) -> None:
    body = fact.body
    tracking.mirror(
        str(body.get("experiment") or "search"),
        f"trial {body['number']}",
        params=body["params"],
        metrics=body["scores"],
        tags=_tags(fact, f"{fact.subject}/{body['number']}", step=body["key"], run=body.get("run", "")),
    )


def _version(tracking: Tracking, fact: Fact) -> None:
    body = fact.body
    reference = f"{body['name']}@{body['version']}"
    tracking.mirror(
        body["name"],
        reference,
        params={"format": body["format"], "licence": body["licence"], **_datasets(body)},
        metrics=body["metrics"],
        tags=_tags(fact, reference, digest=body["digest"], commit=body["commit"], run=body["run"]),
    )


def _datasets(body: Mapping[str, Any]) -> dict[str, str]:
    return {f"dataset {name}": digest for name, digest in body["datasets"].items()}


def _tags(fact: Fact, key: str, **more: Any) -> Mapping[str, str]:
    return {"key": key, "kind": fact.kind, **{name: str(value) for name, value in more.items() if value}}
