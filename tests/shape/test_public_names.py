"""The public names are listed in one place, load lazily, and are documented."""

import ast
import importlib
import inspect

import pytest

import headrace


def test_the_three_lists_agree(root):
    tree = ast.parse((root / "src/headrace/__init__.py").read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    typed = {
        alias.asname: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert typed == headrace._NAMES
    assert sorted(headrace.__all__) == sorted(headrace._NAMES)


@pytest.mark.parametrize("name", sorted(headrace._NAMES))
def test_a_public_name_exists_and_is_documented(name, root):
    value = getattr(headrace, name)
    assert value is getattr(importlib.import_module(headrace._NAMES[name]), name)
    assert inspect.getdoc(value)
    assert f"`{name}`" in (root / "docs/reference/api.md").read_text("utf-8"), "docs/reference/api.md does not name it"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = headrace.nonsense
