"""What ``headrace serving ls`` prints: endpoints, and below them their versions."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from headrace.cli.output import folded
from headrace.cli.shares import lines as sharing
from headrace.client.overview import Overview, Preference, Served, Version
from headrace.serving.deployment import Deployment

Row = dict[str, Any]

_ENDPOINT = (
    ("endpoint",),
    ("state", "schedule", "deadline_ms"),
    ("requests", "errors", "defaults", "req/s", "p50_ms", "p99_ms"),
)
_VERSION = (
    ("endpoint", "version"),
    ("role", "state", "runs", "memory"),
    ("scores", "failed", "p50_ms", "p99_ms"),
)
"""Which, what it is, and how it does."""
_NOT_SERVED = "not served"
_LEAST_IN_MIB = 2**20
_ABSENT = {"deployment": 0, "schedule": "", "deadline_ms": None, "log": "", "by": ""}


def rows(history: Iterable[Deployment], overview: Overview | None) -> list[Row]:
    """One row an endpoint, as ``--json`` prints it.

    Args:
        history: Deployments, oldest first.
        overview: What the gateway tells; None when none runs.
    """
    newest = {deployment.endpoint.name: deployment for deployment in history}
    found = {name: _deployed(deployment) for name, deployment in newest.items()}
    for served in overview.endpoints if overview else ():
        found[served.name] = _ABSENT | found.get(served.name, {}) | _served(served)
    return [found[name] for name in sorted(found)]


def lines(found: Sequence[Row]) -> Iterator[str]:
    """The same for people: a table of endpoints, one of their versions, and what is wrong."""
    yield from folded([_flat(row) for row in found], *_ENDPOINT)
    versions = [{"endpoint": row["endpoint"], **_flat_version(one)} for row in found for one in row["versions"]]
    if versions:
        yield ""
        yield from folded(versions, *_VERSION)
    for row in found:
        shared = list(sharing(row["split"], row["canary"]))
        if shared:
            yield ""
            yield from (f"{row['endpoint']}, {shared[0]}", *shared[1:])
    wrong = [said for row in found for said in _wrong(row)]
    if wrong:
        yield ""
        yield from (f"{name}: {why}" for name, why in dict.fromkeys(wrong))


def _wrong(row: Row) -> Iterator[tuple[str, str]]:
    """What is wrong with an endpoint, unless it is what is wrong with one of its versions; and that."""
    versions = [(one["version"], one["why"]) for one in row["versions"] if one["why"]]
    if row["why"] and not any(why in row["why"] for _, why in versions):
        yield row["endpoint"], row["why"]
    yield from versions


def _deployed(deployment: Deployment) -> Row:
    endpoint = deployment.endpoint
    schedule = [Preference(deployment.models[p.model], p.wait_s) for p in endpoint.schedule]
    return {
        "endpoint": endpoint.name,
        "state": _NOT_SERVED,
        "why": "",
        "unlogged": "",
        "deployment": deployment.seq,
        **_terms(schedule, endpoint.deadline_s, endpoint.log, deployment.who),
        "traffic": None,
        "versions": [],
        "split": _split(deployment),
        "canary": None,
    }


def _split(deployment: Deployment) -> Row | None:
    split, models = deployment.endpoint.split, deployment.models
    return {"models": {models[m]: s for m, s in split.shares.items()}, "key": split.key} if split else None


def _served(served: Served) -> Row:
    terms = {} if served.deadline_s is None else _terms(served.schedule, served.deadline_s, served.log, served.by)
    return {
        "endpoint": served.name,
        "state": served.state,
        "why": served.why,
        "unlogged": served.unlogged,
        **({"deployment": served.deployment} if terms else {}),
        **terms,
        "traffic": _in_ms(asdict(served.traffic)),
        "versions": [_version(one) for one in served.versions],
        "split": asdict(served.split) if served.split else None,
        "canary": asdict(served.canary) if served.canary else None,
    }


def _terms(schedule: Sequence[Preference], deadline_s: float, log: str, who: str) -> Row:
    said = ", ".join(f"{p.model} {p.wait_s * 1000:g} ms" for p in schedule)
    return {"schedule": said, "deadline_ms": deadline_s * 1000, "log": log, "by": who}


def _version(one: Version) -> Row:
    row = _in_ms(asdict(one))
    return {"version": row.pop("name"), **row}


def _in_ms(row: Row) -> Row:
    said = {f"{part}_ms": _ms(row.pop(f"{part}_s")) for part in ("p50", "p99")}
    return {**row, **said}


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _flat(row: Row) -> Mapping[str, Any]:
    traffic = row["traffic"] or {}
    return {**row, **traffic, "req/s": traffic.get("per_second")}


def _flat_version(one: Row) -> Mapping[str, Any]:
    return {**one, "memory": _said(one["memory"]), "runs": one["runs"] or None, "role": one["role"] or None}


def _said(memory: Row | None) -> str | None:
    if memory is None:
        return None
    where = "worker" if memory["of"] == "process" else "file"
    size_bytes = memory["size_bytes"]
    size = f"{size_bytes / 2**20:.1f} MiB" if size_bytes >= _LEAST_IN_MIB else f"{size_bytes / 2**10:.1f} KiB"
    return f"{size} {where}"
