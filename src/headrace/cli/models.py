"""``headrace models``: versions, what they are made of, and which one an alias names."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.output import Output, aligned, options

if TYPE_CHECKING:
    from headrace.models.version import ModelVersion
    from headrace.storage.ledger import Ledger

SHOWN = 12
"""Characters of a digest that people are shown."""


@click.group()
def command() -> None:
    """Model versions, their signatures and aliases."""


@command.command("ls")
@click.argument("name", required=False)
@options
def list_(out: Output, name: str | None) -> None:
    """All versions of all models, or of one; newest last."""
    from headrace.assembly import open_platform
    from headrace.models.registry import find, versions

    ledger = open_platform().ledger()
    if name:
        name = find(ledger, name).name
    rows = [_row(version, _aliases_of(ledger, version)) for version in versions(ledger, name)]
    out.table(rows, ["model", "aliases", "metrics", "registered", "digest"])
    if not rows:
        out.say("no model yet: headrace run <pipeline> registers one")


@command.command()
@click.argument("reference")
@options
def show(out: Output, reference: str) -> None:
    """One version: signature, metrics, checks, lineage and the moves of its aliases."""
    from headrace.assembly import open_platform
    from headrace.models.aliases import KIND
    from headrace.models.registry import find

    ledger = open_platform().ledger()
    version = find(ledger, reference)
    moves = [dict(fact.body) | {"at": fact.at} for fact in ledger.query(KIND, version.name)]
    moves = [move for move in moves if move["version"] == version.version]
    value = version.to_json() | {"aliases": _aliases_of(ledger, version), "moves": moves}
    out.result(value, _page(version, value))


@command.command()
@click.argument("reference")
@click.option("--alias", default="champion", show_default=True, help="The alias to move.")
@click.option("--why", default="", help="For people who read the history.")
@options
def promote(out: Output, reference: str, alias: str, why: str) -> None:
    """Point an alias at a version, such as late@3."""
    from headrace.assembly import open_platform
    from headrace.delivery.promotion import promote as moved
    from headrace.models.aliases import Move
    from headrace.models.registry import find

    ledger = open_platform().ledger()
    version = find(ledger, reference)
    fact = moved(ledger, version, Move(alias, 0, why=why))
    out.result(dict(fact.body), [f"{version.name}@{alias} is {version}"])


@command.command()
@click.argument("first")
@click.argument("second")
@options
def compare(out: Output, first: str, second: str) -> None:
    """Two versions side by side: metrics, and what differs in what they are made of."""
    from headrace.assembly import open_platform
    from headrace.models.registry import find

    ledger = open_platform().ledger()
    left, right = find(ledger, first), find(ledger, second)
    rows = [*_differences(left.metrics, right.metrics, ""), *_differences(_made_of(left), _made_of(right), "only")]
    named = [{"what": what, str(left): old, str(right): new} for what, old, new in rows]
    out.table(named, ["what", str(left), str(right)])


def _row(version: "ModelVersion", aliases: list[str]) -> dict[str, Any]:
    return {
        "model": str(version),
        "aliases": ", ".join(aliases),
        "metrics": " ".join(f"{name}={value:.4g}" for name, value in version.metrics.items()),
        "registered": _time(version.at),
        "digest": version.digest[:SHOWN],
    }


def _aliases_of(ledger: "Ledger", version: "ModelVersion") -> list[str]:
    from headrace.models.aliases import aliases

    return sorted(alias for alias, number in aliases(ledger, version.name).items() if number == version.version)


def _page(version: "ModelVersion", value: Mapping[str, Any]) -> list[str]:
    plain = {
        "model": f"{version}{''.join(f' @{alias}' for alias in value['aliases'])}",
        "registered": _time(version.at),
        "digest": version.digest,
        "format": version.format,
        "licence": version.licence,
        "commit": version.commit or "not in git",
        "run": version.run or "outside a run",
        "checks": _flat(version.report),
        "metrics": _flat(version.metrics),
    }
    columns = [
        {"input": c.name, "dtype": c.dtype, "null": "yes" if c.nullable else ""} for c in version.signature.columns
    ]
    made = [
        {"made from": name, "digest": digest[:SHOWN]} for name, digest in {**version.datasets, **version.steps}.items()
    ]
    lines = [f"{name:<11} {text}" for name, text in plain.items() if text]
    lines += ["", *aligned(columns, ["input", "dtype", "null"])]
    return [*lines, "", *aligned(made, ["made from", "digest"])] if made else lines


def _flat(values: Mapping[str, Any], prefix: str = "") -> str:
    parts = []
    for name, value in values.items():
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        parts.append(_flat(value, f"{name} ") if isinstance(value, Mapping) else f"{prefix}{name} {text}")
    return ", ".join(parts)


def _made_of(version: "ModelVersion") -> dict[str, Any]:
    inputs = {f"input {c.name}": c.dtype + (" or null" if c.nullable else "") for c in version.signature.columns}
    datasets = {f"dataset {name}": digest[:SHOWN] for name, digest in version.datasets.items()}
    steps = {f"step {name}": key[:SHOWN] for name, key in version.steps.items()}
    return {"commit": version.commit[:SHOWN], "licence": version.licence, **datasets, **steps, **inputs}


def _differences(left: Mapping[str, Any], right: Mapping[str, Any], which: str) -> list[tuple[str, Any, Any]]:
    rows = [(name, left.get(name), right.get(name)) for name in dict.fromkeys([*left, *right])]
    return [row for row in rows if which != "only" or row[1] != row[2]]


def _time(at: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
