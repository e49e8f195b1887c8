"""``headrace data``: put files into the store, see what is there, check it."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.group import Group
from headrace.cli.output import Output, aligned, options
from headrace.cli.project import platform as open_project
from headrace.cli.project import sparing
from headrace.errors import Refused, UsageError

if TYPE_CHECKING:
    from headrace.datasets.profile import Profile
    from headrace.datasets.report import Level, Report
    from headrace.datasets.version import DatasetVersion
    from headrace.journey.platform import Platform

# What other programs write for null; a text column full of them asks for --null.
_NULL_TEXTS = frozenset({"NA", "N/A", "#N/A", "n/a", "NULL", "null", "None", "nan", "NaN", "-", "?"})
_TRAFFIC = "request-log:"
_LISTED = 8
_MARKS: "dict[Level, str]" = {"broken": "refused", "anomaly": "anomaly", "dirt": "known"}


@click.group(cls=Group)
def command() -> None:
    """Datasets: put, ls, show, profile, check."""


@command.command()
@click.argument("files", nargs=-1, required=True)
@click.option("--name", help="Name of the dataset; by default the file's.")
@click.option("--null", "nulls", multiple=True, help="Text that means null, besides the empty one; may repeat.")
@click.option("--licence", default="", help="Licence of the data; a model is registered only with one.")
@click.option("--new-contract", is_flag=True, help="Infer the contract anew: the columns changed on purpose.")
@options
def put(out: Output, files: tuple[str, ...], name: str | None, *, nulls: tuple[str, ...], **terms: Any) -> None:
    """Store FILES as dataset versions; equal content is the same version.

    request-log://ENDPOINT?since=2h stores what an endpoint was asked and answered.
    """
    if name and len(files) > 1:
        raise UsageError("--name names one dataset", why=f"{len(files)} files were given", fix="put them one by one")
    platform = sparing()
    stored = [_put(platform, file, name or _name_of(file), nulls=nulls, **terms) for file in files]
    rows = [_summary(version) for version in stored]
    out.table(rows, ["dataset", "version", "rows", "columns", "licence", "digest"])
    for version in stored:
        for hint in _hints(platform, version):
            out.say(hint)


@command.command("ls")
@options
def list_(out: Output) -> None:
    """The newest version of every dataset."""
    from headrace.datasets.catalogue import versions

    newest = {version.name: version for version in versions(open_project().ledger())}
    rows = [_summary(newest[name]) for name in sorted(newest)]
    out.table(rows, ["dataset", "version", "rows", "columns", "licence", "digest", "source"])
    if not rows:
        out.say("no datasets yet - headrace data put FILE stores one")


@command.command()
@click.argument("dataset")
@options
def show(out: Output, dataset: str) -> None:
    """One version of DATASET (name or name@version): its columns, its contract, its other versions."""
    from headrace.datasets.catalogue import find, versions
    from headrace.datasets.contents import contract_of
    from headrace.journey.predictions import origins

    platform = open_project()
    version = find(platform.ledger(), dataset)
    scored = [dict(fact.body) for fact in origins(platform.ledger(), version)]
    contract = contract_of(platform.files(), version).to_json()["columns"]
    others = [{**_summary(v), "at": v.at} for v in versions(platform.ledger(), version.name)]
    columns = [
        {"column": name, "dtype": _plain(dtype), **_promise(contract.get(name))}
        for name, dtype in version.schema.items()
    ]
    out.result(
        {**version.to_json(), "contract": contract, "versions": others, "predicted": scored},
        [
            f"{version}  {version.rows:,} rows  licence {version.licence or 'none'}  from {version.source}",
            f"digest {version.digest}",
            *(f"scored by {origin['model']} from {origin['dataset']}" for origin in scored),
            "",
            *aligned(columns, _filled(columns, ["column", "dtype", "nulls", "range", "values", "key"])),
            "",
            *aligned(others, ["version", "rows", "columns", "digest", "source"]),
        ],
    )
    if any(column.get("key") for column in columns):
        out.say("KEY unique: no value stood twice; where one does later, headrace data check tells it")


@command.command()
@click.argument("dataset")
@options
def profile(out: Output, dataset: str) -> None:
    """Statistics of every column of DATASET, as taken when it was put."""
    from headrace.datasets.catalogue import find
    from headrace.datasets.contents import profile_of

    platform = open_project()
    version = find(platform.ledger(), dataset)
    seen = profile_of(platform.files(), version)
    rows = _statistics(seen)
    names = ["column", "dtype", "nulls", "distinct", "min", "mean", "max", "most_frequent"]
    lines = aligned(rows, _filled(rows, names))
    out.result({"dataset": version.name, "version": version.version, **seen.to_json()}, lines)


@command.command()
@click.argument("datasets", nargs=-1)
@options
def check(out: Output, datasets: tuple[str, ...]) -> int:
    """Hold DATASETS (all by default) against their contracts; exit 3 when one is broken."""
    from headrace.datasets.catalogue import versions
    from headrace.datasets.check import check as checked
    from headrace.datasets.contract import expectations
    from headrace.refs import Ref

    platform = open_project()
    chosen = datasets or tuple(sorted({version.name for version in versions(platform.ledger())}))
    stated = {ref: expectations(platform.settings.contracts, Ref.parse(ref).name) for ref in chosen}
    reports = [checked(platform.stores(), ref, expect) for ref, expect in stated.items()]
    body = [report.to_json() for report in reports]
    out.result(body[0] if len(datasets) == 1 else body, [line for report in reports for line in _lines(report)])
    return 0 if all(report.ok for report in reports) else Refused.exit_code


def _put(
    platform: "Platform", file: str, name: str, *, nulls: tuple[str, ...], licence: str, new_contract: bool
) -> "DatasetVersion":
    from headrace.datasets.contract import expectations
    from headrace.datasets.keep import Terms
    from headrace.datasets.put import put as stored

    terms = Terms(expectations(platform.settings.contracts, name), fresh=new_contract)
    if file.startswith(_TRAFFIC):
        from headrace.journey.traffic import put_traffic, read_traffic

        return put_traffic(platform, read_traffic(file), name, licence=licence, terms=terms)
    return stored(platform.stores(), name, Path(file), nulls=nulls, licence=licence, terms=terms)


def _name_of(file: str) -> str:
    from headrace.refs import suggested_name

    if file.startswith(_TRAFFIC):
        return suggested_name(file.removeprefix(_TRAFFIC).strip("/").partition("?")[0]) + "-requests"
    return suggested_name(Path(file).name.partition(".")[0])


def _summary(version: "DatasetVersion") -> dict[str, Any]:
    return {
        "dataset": version.name,
        "version": version.version,
        "rows": version.rows,
        "columns": len(version.schema),
        "licence": version.licence or None,
        "digest": version.digest[:12],
        "source": version.source,
    }


def _hints(platform: "Platform", version: "DatasetVersion") -> list[str]:
    """What the newcomer probably meant: null texts left as text."""
    from headrace.datasets.contents import profile_of

    found: dict[str, list[str]] = {}
    for name, column in profile_of(platform.files(), version).columns.items():
        if column.family == "text":
            for value, _ in column.top:
                if value in _NULL_TEXTS:
                    found.setdefault(value, []).append(name)
    return [
        f"{version}: {text!r} is a text in {', '.join(names)} - if it means null: "
        f"headrace data put {version.source} --null {text} --new-contract"
        for text, names in found.items()
    ]


def _plain(dtype: str) -> str:
    """A dtype as people call it: ``Datetime UTC`` for ``Datetime(time_unit='us', time_zone='UTC')``."""
    found = re.fullmatch(r"Datetime\(time_unit='\w+', time_zone=(?:None|'(.+)')\)", dtype)
    return " ".join(filter(None, ("Datetime", found[1]))) if found else dtype


def _filled(rows: list[dict[str, Any]], columns: list[str]) -> list[str]:
    """The columns of which at least one row has something."""
    return [column for column in columns if any(row.get(column) is not None for row in rows)]


def _promise(column: dict[str, Any] | None) -> dict[str, Any]:
    if column is None:
        return {}
    ends = (column["minimum"], column["maximum"])
    return {
        "nulls": "may be" if column["nullable"] else "never",
        "range": f"{ends[0]:g} to {ends[1]:g}" if None not in ends else None,
        "values": ", ".join(column["categories"][:_LISTED]) + (", …" if len(column["categories"]) > _LISTED else "")
        or None,
        "key": "unique" if column["unique"] else None,
    }


def _statistics(seen: "Profile") -> list[dict[str, Any]]:
    return [
        {
            "column": name,
            "dtype": _plain(c.dtype),
            "nulls": c.nulls,
            "distinct": c.distinct,
            "min": c.minimum,
            "mean": c.mean,
            "max": c.maximum,
            "most_frequent": ", ".join(f"{value} ({count:,})" for value, count in c.top[:3]) or None,
        }
        for name, c in seen.columns.items()
    ]


def _lines(report: "Report") -> list[str]:
    counts = ", ".join(f"{len(report.of(level))} {word}" for level, word in _MARKS.items() if report.of(level))
    head = f"{report.dataset}@{report.version}  {report.rows:,} rows  {counts or 'nothing to report'}"
    return [head, *(f"  {_MARKS[f.level]:8} {f.message}" for f in report.findings)]
