"""``make soak`` runs what is marked: a test that has a full count, and is not, would never meet it."""

import ast
from pathlib import Path

import pytest

SETTING = "HEADRACE_SOAK"
MARKS = {"slow", "service"}


def _names(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def _says(node: ast.AST) -> bool:
    return any(isinstance(n, ast.Constant) and n.value == SETTING for n in ast.walk(node))


def _marked(nodes: list[ast.expr]) -> bool:
    return any(isinstance(n, ast.Attribute) and n.attr in MARKS for node in nodes for n in ast.walk(node))


def _unmarked(source: str) -> list[str]:
    """Tests whose counts depend on the setting and that ``make soak`` does not select."""
    counts: set[str] = set()
    tests = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign):
            targets = set().union(*map(_names, node.targets))
            if "pytestmark" in targets and _marked([node.value]):
                return []
            counts |= targets if _says(node.value) or _names(node.value) & counts else set()
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            tests.append(node)
    return [t.name for t in tests if (_says(t) or _names(t) & counts) and not _marked(t.decorator_list)]


@pytest.mark.parametrize(
    ("source", "due"),
    [
        ("A = get('HEADRACE_SOAK')\nB = 5 if A else 1\ndef test_a(): B\ndef test_b(): pass", ["test_a"]),
        ("def test_a(): get('HEADRACE_SOAK')", ["test_a"]),
        ("A = get('HEADRACE_SOAK')\n@pytest.mark.slow\ndef test_a(): A", []),
        ("A = get('HEADRACE_SOAK')\npytestmark = [pytest.mark.service]\ndef test_a(): A", []),
    ],
)
def test_the_check_finds_what_it_should(source: str, due: list[str]) -> None:
    assert _unmarked(source) == due


def test_every_full_count_is_met_by_make_soak(root: Path) -> None:
    found = {
        str(path.relative_to(root)): names
        for path in sorted((root / "tests").rglob("test_*.py"))
        if path != Path(__file__) and SETTING in (text := path.read_text("utf-8")) and (names := _unmarked(text))
    }
    assert found == {}, "mark them: @pytest.mark.slow"
