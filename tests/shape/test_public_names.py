"""The public names are listed in one place, load lazily, and are documented."""

import ast
import inspect

import pytest

import headrace
from headrace import client


def test_every_list_names_the_same(root):
    tree = ast.parse((root / "src/headrace/__init__.py").read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    typed = {alias.asname for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed == set(headrace.__all__)
    assert sorted([*headrace._NAMES, *headrace._ROOMS]) == sorted(headrace.__all__)


@pytest.mark.parametrize("name", sorted(headrace.__all__))
def test_a_public_name_exists_and_is_documented(name, root):
    assert inspect.getdoc(getattr(headrace, name))
    page = (root / "docs/reference/api.md").read_text("utf-8")
    assert f"`hr.{name}`" in page, "docs/reference/api.md does not name it"


def test_the_client_is_documented(root):
    page = (root / "docs/reference/api.md").read_text("utf-8")
    methods = [name for name, _ in inspect.getmembers(client.Client, inspect.isfunction) if name[0] != "_"]
    assert len(methods) > 5
    assert [name for name in methods if f"`{name}(" not in page] == []
    assert [name for name in client.__all__ if f"`{name}`" not in page and f".{name}`" not in page] == []


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = headrace.nonsense
