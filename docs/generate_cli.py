"""Write docs/reference/cli.md from the commands themselves: ``python docs/generate_cli.py`` (``make reference``)."""

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from headrace.cli import COMMANDS

PAGE = Path(__file__).parent / "reference" / "cli.md"
HEAD = """# Command line

<!-- Written by `make reference` from the commands themselves; do not edit. -->

Results go to stdout, progress and errors to stderr. Every command takes `--json` (the result as JSON), `-q` (the result
only) and `--help`. Exit codes: 0 ok, 1 run failed, 2 usage, 3 a gate or check refused, 4 a service is unreachable or
refuses us, 5 not found, 130 Ctrl-C. Colour and animation need a terminal and an unset `NO_COLOR`.
"""
EVERYWHERE = {"as_json", "quiet", "help"}


def page() -> str:
    """The whole page."""
    sections = [HEAD]
    for name, (module, _) in COMMANDS.items():
        command = importlib.import_module(f"headrace.cli.{module}").command
        sections += _sections(f"headrace {name}", command)
    return "\n".join(sections)


def _sections(path: str, command: click.Command) -> Iterator[str]:
    level = "##" if path.count(" ") == 1 else "###"
    yield f"{level} `{path}`\n\n{_help(command)}\n"
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from _sections(f"{path} {name}", child)
        return
    yield f"```text\n{' '.join([path, *command.collect_usage_pieces(click.Context(command))])}\n```\n"
    rows = [row for parameter in command.params if (row := _row(parameter))]
    if rows:
        yield "\n".join(["| option | meaning | default |", "|---|---|---|", *rows]) + "\n"


def _help(command: click.Command) -> str:
    text = inspect.cleandoc((command.help or "").partition("\f")[0])
    return text.replace("``", "`").strip()


def _row(parameter: click.Parameter) -> str:
    if not isinstance(parameter, click.Option) or parameter.name in EVERYWHERE or parameter.hidden:
        return ""
    value = "" if parameter.is_flag else f" {parameter.make_metavar(click.Context(click.Command('x')))}"
    shown = parameter.to_info_dict()["default"]
    default = f"`{shown}`" if isinstance(shown, str | int | float) and not isinstance(shown, bool) else ""
    names = "`, `".join(sorted(parameter.opts, key=len))
    return f"| `{names}`{value} | {parameter.help or ''} | {default} |".replace("``", "`")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
