"""``headrace models``: versions, what they are made of, and which one an alias names."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.exports import export
from headrace.cli.group import Group
from headrace.cli.output import Output, aligned, options
from headrace.cli.predictions import predict
from headrace.cli.project import no_project
from headrace.errors import UsageError

if TYPE_CHECKING:
    from headrace.models.signature import Signature
    from headrace.models.version import ModelVersion
    from headrace.storage.ledger import Ledger

SHOWN = 12
"""Characters of a digest that people are shown."""

_SIGNATURE = """\
{"kind": "table", "inputs": [{"name": "amount", "dtype": "float64"}], "outputs": [{"name": "y", "dtype": "float64"}]}"""
_EXAMPLE = '{"columns": {"amount": [1.0]}, "outputs": {"y": [0.5]}}'


@click.group(cls=Group)
def command() -> None:
    """Model versions, their signatures and aliases."""


command.add_command(predict)
command.add_command(export)


@command.command("ls")
@click.argument("name", required=False)
@options
def list_(out: Output, name: str | None) -> None:
    """All versions of all models, or of one; newest last."""
    from headrace.assembly import open_platform
    from headrace.models.registry import find, versions

    platform = open_platform()
    ledger = platform.ledger()
    if name:
        name = find(ledger, name).name
    rows = [_row(version, _aliases_of(ledger, version)) for version in versions(ledger, name)]
    trusted = ["trusted"] if any(row["trusted"] for row in rows) else []
    out.table(rows, ["model", "aliases", "metrics", *trusted, "registered", "digest"])
    if not rows:
        out.say(f"no model yet: headrace run <pipeline> registers one{no_project(platform.settings.root)}")


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
    from headrace.delivery.requirements import read_requirements
    from headrace.models.aliases import Move
    from headrace.models.registry import find

    platform = open_platform()
    ledger = platform.ledger()
    version = find(ledger, reference)
    fact = moved(ledger, version, Move(alias, 0, why=why), read_requirements(platform.settings.promotion))
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


@command.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="What the model is called from now on.")
@click.option("--signature", help="JSON, or a file of it: kind, inputs, outputs; by default what the model declares.")
@click.option("--signature-name", default="", help="Which of the signatures that the model declares.")
@click.option(
    "--example",
    default="",
    help="JSON, or a file of it: columns (or tensors) of rows, and outputs; by default the model's own.",
)
@click.option("--licence", required=True, help="Of the training data, such as CC0-1.0.")
@click.option(
    "--trust",
    multiple=True,
    help="For skops: a type to trust besides the harmless ones; may repeat. For MLflow: pickle.",
)
@options
def import_(  # noqa: PLR0913 - one parameter for each option
    out: Output,
    path: Path,
    *,
    name: str,
    signature: str | None,
    signature_name: str,
    example: str,
    licence: str,
    trust: tuple[str, ...],
) -> None:
    """Register a model trained elsewhere, a file or a folder, once it answers the example alike.

    A folder that headrace models export wrote brings its signature, examples and training profile along.
    """
    from headrace.assembly import open_platform
    from headrace.journey.exports import is_export, read_export
    from headrace.journey.imports import Import, imported

    if is_export(path) and not (signature or example):
        found = read_export(path)
        path = found.model
        asked = Import(name, found.signature, found.examples, licence, trust, profile=found.profile)
    else:
        stated = None if signature is None else _signature(signature)
        given = _json(example, "--example") if example else None
        asked = Import(name, stated, given, licence, trust, signature_name)
    platform = open_platform()
    version = imported(platform.stores(), platform.runtime, path, asked)
    said = f"{version} registered: {version.format}, {version.report['parity']['rows']} rows answered alike"
    out.result(version.to_json(), [said])


def _signature(text: str) -> "Signature":
    from headrace.models.signature import Signature

    try:
        return Signature.from_json(_json(text, "--signature"))
    except (KeyError, TypeError, ValueError) as error:
        why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UsageError("--signature is no signature", why=why, fix=f"say it like {_SIGNATURE}") from None


def _json(text: str, option: str) -> dict[str, Any]:
    """An option's JSON object, given as such or in a file."""
    import json

    try:
        found = json.loads(text if text.lstrip().startswith(("{", "[")) else Path(text).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{option} cannot be read", where=text[:80], why=str(error)) from error
    if not isinstance(found, dict):
        like = _SIGNATURE if option == "--signature" else _EXAMPLE
        raise UsageError(f"{option} is no JSON object", where=text[:80], fix=f"say it like {like}")
    return found


def _row(version: "ModelVersion", aliases: list[str]) -> dict[str, Any]:
    return {
        "model": str(version),
        "aliases": ", ".join(aliases),
        "metrics": " ".join(f"{name}={value:.4g}" for name, value in version.metrics.items()),
        "trusted": version.report.get("imported", {}).get("trusted", ""),
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
    if version.signature.params:
        lines += ["", *(f"param {param}" for param in version.signature.params)]
    return [*lines, "", *aligned(made, ["made from", "digest"])] if made else lines


def _flat(values: Mapping[str, Any], prefix: str = "") -> str:
    parts = []
    for name, value in values.items():
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        parts.append(_flat(value, f"{name} ") if isinstance(value, Mapping) else f"{prefix}{name} {text}")
    return ", ".join(parts)


def _made_of(version: "ModelVersion") -> dict[str, Any]:
    inputs = {f"input {c.name}": c.dtype + (" or null" if c.nullable else "") for c in version.signature.columns}
    inputs |= {f"param {param.name}": str(param).partition(": ")[2] for param in version.signature.params}
    datasets = {f"dataset {name}": digest[:SHOWN] for name, digest in version.datasets.items()}
    steps = {f"step {name}": key[:SHOWN] for name, key in version.steps.items()}
    return {"commit": version.commit[:SHOWN], "licence": version.licence, **datasets, **steps, **inputs}


def _differences(left: Mapping[str, Any], right: Mapping[str, Any], which: str) -> list[tuple[str, Any, Any]]:
    rows = [(name, left.get(name), right.get(name)) for name in dict.fromkeys([*left, *right])]
    return [row for row in rows if which != "only" or row[1] != row[2]]


def _time(at: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
