"""Why a prediction is what it is: from its id back to the data and the commit."""

from dataclasses import asdict
from typing import Any

from headrace.errors import NotFound
from headrace.features.view import version
from headrace.journey.platform import Platform
from headrace.models.registry import find
from headrace.models.version import ModelVersion
from headrace.refs import id_time_ms
from headrace.serving.arrival import Raw
from headrace.serving.deployment import current
from headrace.serving.log import RequestLog
from headrace.serving.provenance import answered, registered, watched
from headrace.serving.records import NO_MODEL, Prediction, Score
from headrace.serving.request import Joined
from headrace.storage.ledger import Fact, Ledger


def explain(platform: Platform, prediction_id: str) -> dict[str, Any]:
    """Everything that is known about one logged prediction.

    Args:
        platform: Where the logs and the ledger are.
        prediction_id: The id that the reply's header carried.

    Returns:
        ``signature`` that it was asked by (empty for the default), ``params`` that its caller said, ``input``,
        ``answer``, ``winner`` and ``reason``; when it was ``received``, by the wall clock and in seconds of the
        server's monotonic one, and how long after that it was answered; what was ``joined``: each view with the version
        that was read, the values it gave, and the dataset version that it was first made from; every scorer's score
        with the moments of its way there (``records.HOPS``), in milliseconds after that; the model version with its
        digest, commit, dataset versions and step keys (None when none answered), of one that was served from a watched
        folder those of the registered version with the same digest, ``registered``, where there is one; the deployment
        in force.

    Raises:
        NameRefused: The id is not a UUIDv7.
        NotFound: No endpoint has logged it.
    """
    id_time_ms(prediction_id)
    ledger = platform.ledger()
    prediction = _find(platform, ledger, prediction_id)
    return {
        "id": prediction.id,
        "endpoint": prediction.endpoint,
        "at_ms": prediction.at_ms,
        "event_time": list(prediction.event_time),
        "signature": prediction.signature,
        "params": dict(prediction.params),
        "input": {name: list(values) for name, values in prediction.columns.items()},
        "answer": {name: list(values) for name, values in prediction.outputs.items()},
        "winner": prediction.winner,
        "reason": prediction.reason,
        "joined": [_joined(ledger, prediction, joined) for joined in prediction.joined],
        "masked": list(prediction.masked),
        "body": _body(prediction.raw),
        "received": {"at_ms": prediction.at_ms, "monotonic_s": prediction.received or None},
        "elapsed_ms": prediction.elapsed_s * 1000,
        "scores": [_score(score) for score in prediction.scores],
        "model": None if prediction.winner in NO_MODEL else _model(ledger, prediction),
        "deployment": _deployment(ledger, prediction),
    }


def body(platform: Platform, prediction_id: str) -> bytes:
    """The body of a logged request, byte for byte as it came (unpacked, where it came compressed).

    Raises:
        NameRefused: The id is not a UUIDv7.
        NotFound: No endpoint has logged it, or only without its body: it masks columns.
    """
    id_time_ms(prediction_id)
    found = _find(platform, platform.ledger(), prediction_id)
    if found.raw is None:
        why = f"it masks {', '.join(found.masked)}" if found.masked else "it did not come over the network"
        raise NotFound(f"the body of {prediction_id} was not kept", where=f"endpoint {found.endpoint}", why=why)
    return found.raw.body


def _body(raw: Raw | None) -> dict[str, Any] | None:
    return None if raw is None else {"target": raw.target, "content_type": raw.content_type, "bytes": len(raw.body)}


def _find(platform: Platform, ledger: Ledger, prediction_id: str) -> Prediction:
    endpoints = sorted({fact.subject for fact in ledger.query("endpoint.deployed")} | watched(ledger))
    stream = platform.stream()
    for endpoint in endpoints:
        found = RequestLog(stream, endpoint).find(prediction_id)
        if found is not None:
            return found
    silent = [name for name in endpoints if (d := current(ledger, name)) is not None and d.endpoint.log == "off"]
    none = f"; {', '.join(silent)} logs nothing" if silent else ""
    raise NotFound(
        f"no prediction {prediction_id!r}",
        why=f"it is in the log of no endpoint ({', '.join(endpoints) or 'none was ever deployed'}){none}",
        fix="take the id from the header x-headrace-id of a reply",
    )


def _joined(ledger: Ledger, prediction: Prediction, joined: Joined) -> dict[str, Any]:
    known = version(ledger, joined.view, joined.version)
    origin = {"dataset": known.dataset, "dataset_digest": known.dataset_digest} if known else {}
    values = {name: list(prediction.columns[name]) for name in joined.columns}
    return {"view": joined.view, "version": joined.version, **origin, "values": values}


def _score(score: Score) -> dict[str, Any]:
    fields = asdict(score)
    del fields["hops"]
    fields["elapsed_ms"] = fields.pop("elapsed_s") * 1000
    fields["hops_ms"] = {name: round(at * 1000, 6) for name, at in score.moments.items()}
    return fields


def _model(ledger: Ledger, prediction: Prediction) -> dict[str, Any]:
    """The version that answered; one of a watched folder is no version of the registry, even if it is called so."""
    loading = None if prediction.deployment else answered(ledger, prediction)
    if loading is None:
        return _registered(find(ledger, prediction.winner))
    equal = registered(ledger, loading)
    nothing = {"commit": "", "licence": "", "datasets": {}, "steps": {}}
    known = {**nothing, "registered": ""} if equal is None else {**_registered(equal), "registered": str(equal)}
    return {**known, "name": prediction.winner.rpartition("@")[0], **asdict(loading)}


def _registered(version: ModelVersion) -> dict[str, Any]:
    return {**asdict(version), "signature": version.signature.to_json()}


def _deployment(ledger: Ledger, prediction: Prediction) -> dict[str, Any]:
    facts = ledger.query("endpoint.deployed", prediction.endpoint, after=prediction.deployment - 1)
    fact: Fact | None = next((f for f in facts if f.seq == prediction.deployment), None)
    return {"seq": prediction.deployment, "at": fact.at, **fact.body} if fact else {"seq": prediction.deployment}
