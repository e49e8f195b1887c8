"""``headrace features``: the newest features of each entity, read by key when a request comes."""

from typing import TYPE_CHECKING, Any

import click

from headrace.cli.group import Group
from headrace.cli.output import Output, aligned, options
from headrace.cli.project import platform as open_project
from headrace.errors import IntegrityError, NotFound, Unavailable

if TYPE_CHECKING:
    from headrace.features.online import OnlineFeatures
    from headrace.features.view import FeatureView

_COLUMNS = ["view", "version", "online", "keys", "features", "rows", "dataset", "made"]


@click.group(cls=Group)
def command() -> None:
    """Feature views: materialize, ls, show."""


@command.command()
@click.argument("view")
@click.option("--from", "data", required=True, help="The dataset version it is made from: orders, orders@3.")
@click.option("--by", multiple=True, required=True, help="Column that names an entity; repeat for several.")
@click.option("--columns", multiple=True, help="A feature; repeat for several. By default every other column.")
@click.option("--event-time", default="", help="Column by which the newest row of an entity is told.")
@options
def materialize(
    out: Output, view: str, data: str, *, by: tuple[str, ...], columns: tuple[str, ...], event_time: str
) -> None:
    """Write the newest features of each entity of VIEW to where requests read them.

    Requests see the version before, or this one, never a mix.
    """
    from headrace.features.materialize import Materialization
    from headrace.journey.features import materialized

    platform = open_project()
    made = materialized(platform, Materialization(view, data, by, columns, event_time))
    out.table([_summary(made, platform.online())], _COLUMNS)


@command.command("ls")
@options
def list_(out: Output) -> None:
    """The newest version of every feature view."""
    from headrace.features.view import views

    platform = open_project()
    newest = {view.name: view for view in views(platform.ledger())}
    out.table([_summary(newest[name], platform.online()) for name in sorted(newest)], _COLUMNS)
    if not newest:
        out.say("no feature views yet - headrace features materialize VIEW --from DATASET --by COLUMN makes one")


@command.command()
@click.argument("view")
@options
def show(out: Output, view: str) -> None:
    """VIEW's newest version: its keys and features; which version is read online; the versions before."""
    from headrace.features.view import find, views

    platform = open_project()
    found = find(platform.ledger(), view)
    online = _online(platform.online(), view)
    columns = [{"column": n, "part": "key", "dtype": dtype} for n, dtype in found.keys.items()]
    columns += [{"column": n, "part": "feature", "dtype": dtype} for n, dtype in found.columns.items()]
    others = [_told(version, online) for version in views(platform.ledger(), view)]
    out.result(
        {**found.to_json(), "online": online, "versions": others},
        [
            f"{found.name}  {found.rows:,} entities  from {found.dataset}",
            f"digest {found.version}",
            f"online {online or 'none'}",
            "",
            *aligned(columns, ["column", "part", "dtype"]),
            "",
            *aligned(others, ["version", "online", "rows", "dataset", "made"]),
        ],
    )


def _summary(view: "FeatureView", store: "OnlineFeatures") -> dict[str, Any]:
    return _told(view, _online(store, view.name))


def _told(view: "FeatureView", online: str) -> dict[str, Any]:
    return {
        "view": view.name,
        "version": view.version[:12],
        "online": "yes" if online == view.version else None,
        "keys": ", ".join(view.keys),
        "features": len(view.columns),
        "rows": view.rows,
        "dataset": view.dataset,
        "made": view.at or None,
    }


def _online(store: "OnlineFeatures", name: str) -> str:
    """The version that is read; empty where none can be."""
    try:
        return store.read(name, ()).view.version
    except (NotFound, IntegrityError, Unavailable):
        return ""
