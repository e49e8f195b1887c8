"""Every error code, setting, fact, engine, command and option is in the reference."""

import ast
import dataclasses
import importlib
import re
import sys
import tomllib
from pathlib import Path

import click
import pytest

from headrace import errors
from headrace.cli import COMMANDS
from headrace.datasets.contract import Expectations
from headrace.delivery.requirements import KEYS
from headrace.serving.endpoint import Endpoint
from headrace.serving.folder_settings import KEYS as MODEL_KEYS
from headrace.settings import NAMES

REFERENCE = Path(__file__).resolve().parents[2] / "docs/reference"
FACT_KIND = re.compile(r"[a-z]+(\.[a-z]+)?")


def _page(name):
    return (REFERENCE / f"{name}.md").read_text("utf-8")


def _error_types(kind=errors.HeadraceError):
    return [kind, *(found for child in kind.__subclasses__() for found in _error_types(child))]


@pytest.mark.parametrize("kind", _error_types(), ids=lambda kind: kind.__name__)
def test_an_error_is_documented(kind):
    row = next((line for line in _page("errors").splitlines() if line.startswith(f"| `{kind.code}` |")), "")
    assert f"`{kind.__name__}`" in row
    assert f"| {kind.exit_code} |" in row


@pytest.mark.parametrize("name", NAMES)
def test_a_setting_is_documented(name):
    assert f"| `{name}` |" in _page("settings")
    assert f"`HEADRACE_{name.upper()}`" in _page("settings")


def test_every_kind_of_fact_is_documented(modules):
    said = {
        kind
        for module in modules
        if module.room != "conformance"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Fact" and (kind := _kind(node, module.tree))
    }
    page = _page("facts")
    assert {"dataset.version", "model.version", "doctor.probed"} <= said
    assert sorted(kind for kind in said if f"| `{kind}` |" not in page) == []


def _kind(call, tree):
    """The kind of fact that a call makes, written there or as a constant of its module; None when it is computed."""
    constants = {
        ast.unparse(node.targets[0]): node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    }
    first = call.args[0] if call.args else None
    kind = first.value if isinstance(first, ast.Constant) else constants.get(ast.unparse(first) if first else "")
    return kind if isinstance(kind, str) and FACT_KIND.fullmatch(kind) else None


def test_every_engine_is_documented():
    project = tomllib.loads((REFERENCE.parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    page = _page("engines")
    assert [n for n in project["entry-points"]["headrace.engines"] if f"`{n}`" not in page] == []
    assert [n for n in project["optional-dependencies"] if f"`{n}`" not in page] == []


def test_the_command_line_page_is_what_the_commands_say():
    sys.path.insert(0, str(REFERENCE.parent))
    try:
        generate = importlib.import_module("generate_cli")
    finally:
        sys.path.remove(str(REFERENCE.parent))
    assert _page("cli") == generate.page(), "make reference writes it anew"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_what_it_and_its_options_do(name):
    command = importlib.import_module(f"headrace.cli.{COMMANDS[name][0]}").command
    assert [said for said, text in _helps(f"headrace {name}", command) if not text] == []


def _helps(path, command):
    """The command and its options, each with its help; the same of its subcommands."""
    yield path, command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            yield f"{path} {parameter.opts[0]}", parameter.help
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from _helps(f"{path} {name}", child)


@pytest.mark.parametrize(
    ("table", "keys"),
    [
        ("contract", {field.name for field in dataclasses.fields(Expectations)}),
        ("promotion", set(KEYS)),
        ("model", set(MODEL_KEYS)),
        ("endpoint", set(Endpoint("any", (), 0.05).to_json()) - {"name"}),
    ],
)
def test_the_keys_of_a_settings_table_are_documented(table, keys):
    section = _page("settings").partition(f"### `[{table}")[2].partition("### ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == keys
