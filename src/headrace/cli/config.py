"""``headrace config``: settings, each with its origin."""

import click

from headrace.cli.group import Group
from headrace.cli.output import Output, options
from headrace.settings import load_settings


@click.group(cls=Group)
def command() -> None:
    """Settings, each with its origin."""


@command.command("list")
@click.option("--env", help="Show the settings of this environment.")
@options
def list_(out: Output, env: str | None) -> None:
    """Every setting, its value here, and where that came from."""
    settings = load_settings(flags={"env": env})
    rows = [{"name": name, "value": value, "origin": origin} for name, value, origin in settings.rows()]
    out.table(rows, ["name", "value", "origin"])
