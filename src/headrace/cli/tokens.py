"""``headrace tokens``: who may ask the project's servers for what."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.group import Group
from headrace.cli.output import Output, options

if TYPE_CHECKING:
    from headrace.placement.access import Tokens


@click.group(cls=Group)
def command() -> None:
    """Tokens for the control port, and for servers that others can reach: make, ls, revoke."""


@command.command("ls")
@options
def list_(out: Output) -> None:
    """Every token with its scopes; none can be shown again. ``control`` is the project's own."""
    rows = [
        {
            "name": token.name,
            "scopes": " ".join(sorted(token.scopes)),
            "made": _day(token.made_s),
            "expires": "never" if token.expires_s is None else _day(token.expires_s),
            "state": "expired" if token.expired else "good",
        }
        for token in _tokens().current()
    ]
    out.table(rows, ["name", "scopes", "made", "expires", "state"])


@command.command()
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, required=True, help="read, score, deploy or admin; may repeat.")
@click.option("--expires", metavar="SPAN", help="Refuse it after so long: 90d, 12h.  [default: never]")
@click.option("--to", type=click.Path(path_type=Path), help="Write it to a new file that only you can read.")
@options
def make(out: Output, name: str, *, scopes: tuple[str, ...], expires: str | None, to: Path | None) -> None:
    """Make the token NAME and print it, this once; servers that run take it at once.

    read: status, metadata, statistics, metrics. score: have rows scored. deploy: load, unload, reload. admin: all of
    these, and make and revoke tokens.
    """
    from headrace.errors import Conflict, UsageError
    from headrace.placement.access import scopes_named
    from headrace.placement.tokens import write_private
    from headrace.serving.moments import span_s

    known = scopes_named(scopes)
    for_s = None if expires is None else span_s(expires)
    if to is not None and to.exists():
        raise Conflict(f"{to} is there already", fix="name a new file")
    tokens = _tokens()
    secret = tokens.make(name, known, for_s=for_s)
    said: dict[str, Any] = {"name": name, "scopes": sorted(known)}
    if to is None:
        out.result({**said, "token": secret}, [secret])
        out.say("it is not kept: this is the only time that it is shown")
    else:
        try:
            write_private(to, secret + "\n")
        except OSError as error:
            tokens.revoke(name)  # nobody has seen it
            why, fix = error.strerror or str(error), "a new file, in a folder that is there"
            raise UsageError("the token cannot be written, and is revoked", where=str(to), why=why, fix=fix) from error
        out.result({**said, "file": str(to)}, [str(to)])
    out.say(f"headrace tokens revoke {name} ends it")


@command.command()
@click.argument("name")
@options
def revoke(out: Output, name: str) -> None:
    """Refuse the token NAME from now on, in servers that run too; of ``control`` a new one is made."""
    _tokens().revoke(name)
    out.result({"name": name, "state": "revoked"}, [f"{name} is revoked"])


def _tokens() -> "Tokens":
    from headrace.assembly import project_home
    from headrace.placement.access import Tokens
    from headrace.settings import load_settings

    return Tokens(project_home(load_settings()))


def _day(moment_s: float) -> str:
    return datetime.fromtimestamp(moment_s, UTC).strftime("%Y-%m-%d %H:%M")
