"""What a function reaches: layout and docstrings never count, code always does."""

import ast
import importlib
import itertools
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.pipelines.source import reached

_numbers = itertools.count()

BASE = '''\
"""Module."""
import math
import numpy as np
import headrace as hr
from OTHER_MODULE import shared, UNUSED

LIMIT = 3
ELSEWHERE = 4

def helper(x):
    """Docs."""
    return math.sqrt(x) + LIMIT

def unrelated(x):
    return ELSEWHERE

@hr.step
def target(rows, scale=2):
    """Docs."""
    # a comment
    values = [helper(r) * scale for r in rows]
    return shared(values)
'''
OTHER = """\
FACTOR = 2
UNUSED = 1
def shared(values):
    return inner(values) * FACTOR
def inner(values):
    return sum(values)
def nobody():
    return UNUSED
"""


@pytest.fixture
def code(tmp_path, monkeypatch):
    """``code(module, other)`` tells what ``target`` reaches when the two modules have these texts."""
    monkeypatch.syspath_prepend(str(tmp_path))
    number = next(_numbers)
    module, other = f"made_source_{number}", f"made_other_{number}"

    def tell(text=BASE, other_text=OTHER, name="target"):
        (tmp_path / f"{other}.py").write_text(other_text)
        (tmp_path / f"{module}.py").write_text(text.replace("OTHER_MODULE", other))
        importlib.invalidate_caches()
        found = reached(SimpleNamespace(__module__=module, __qualname__=name))
        names = {n.replace(module, "m").replace(other, "o"): d for n, d in found.names.items()}
        return SimpleNamespace(names=names, packages=found.packages)

    return tell


def test_it_follows_names_through_modules(code):
    assert set(code().names) == {"m:target", "m:helper", "m:LIMIT", "o:shared", "o:inner", "o:FACTOR"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Docs."""', '"""Other docs,\n    longer."""'),
        ("# a comment", "# another\n\n    # comment"),
        ("rows, scale=2", "rows,\n    scale = 2,\n"),
        ("math.sqrt(x) + LIMIT", "(math.sqrt(x)\n        + LIMIT)"),
        ("LIMIT = 3", "\n\nLIMIT   =   0x3"),
        ("ELSEWHERE = 4", "ELSEWHERE = 5"),
        ("return ELSEWHERE", "return -ELSEWHERE"),
        ("@hr.step", "@hr.step(cache=False)"),
        ('"""Module."""', ""),
    ],
)
def test_what_does_not_matter_does_not_count(code, old, new):
    assert old in BASE
    assert code(BASE.replace(old, new)).names == code().names


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("scale=2", "scale=3", "m:target"),
        ("* scale", "+ scale", "m:target"),
        ("LIMIT = 3", "LIMIT = 4", "m:LIMIT"),
        ("+ LIMIT", "- LIMIT", "m:helper"),
        ("def target(rows", "def target(rows: list", "m:target"),
        ("LIMIT = 3", "LIMIT = 3\nLIMIT += 1", "m:LIMIT"),
    ],
)
def test_what_matters_counts(code, old, new, changed):
    before, after = code().names, code(BASE.replace(old, new)).names
    assert {name for name in before if before[name] != after[name]} == {changed}


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("sum(values)", "max(values)", {"o:inner"}),
        ("FACTOR = 2", "FACTOR = 3", {"o:FACTOR"}),
        ("return UNUSED", "return 0", set()),
        ("UNUSED = 1", "UNUSED = 2", set()),
    ],
)
def test_other_modules_count_by_name_too(code, old, new, changed):
    before, after = code().names, code(other_text=OTHER.replace(old, new)).names
    assert {name for name in before if before[name] != after[name]} == changed


def test_a_parameter_hides_the_modules_name(code):
    text = BASE.replace("def target(rows, scale=2)", "def target(rows, scale=2, unrelated=None)")
    assert "m:unrelated" not in code(text.replace("* scale", "* unrelated")).names
    assert "m:unrelated" in code(BASE.replace("* scale", "* unrelated(r)")).names


@pytest.mark.parametrize(
    "body",
    [
        "unrelated = rows\n    return unrelated",
        "return [unrelated for unrelated in rows]",
        "return (lambda unrelated: unrelated)(rows)",
        "with rows as unrelated:\n        return unrelated",
        "for unrelated in rows:\n        pass\n    return unrelated",
        "def unrelated():\n        return 1\n    return unrelated()",
        "import os as unrelated\n    return unrelated",
    ],
)
def test_local_names_hide_too(code, body):
    text = f"def unrelated(): return 1\ndef target(rows):\n    {body}\n"
    assert set(code(text).names) == {"m:target"}


@pytest.mark.parametrize(
    "body",
    [
        "global unrelated\n    unrelated = 1\n    return unrelated",
        "return [x for x in unrelated()]",
        "return lambda: unrelated",
        "class Local(unrelated): pass\n    return Local",
        "def inner():\n        return unrelated\n    return inner",
        "x: 'unrelated' = 1\n    return x",
    ],
)
def test_what_is_used_inside_is_reached(code, body):
    text = f"def unrelated(): return 1\ndef target(rows):\n    {body}\n"
    assert "m:unrelated" in code(text).names


def test_packages_count_by_version_with_what_they_require(code):
    assert "numpy" not in code().packages  # imported by the module, not reached by the step
    packages = code(BASE.replace("sum(", "").replace("* scale", "* np.float64(scale)")).packages
    assert set(packages) == {"numpy"}
    nested = code("def target(rows):\n    from sklearn.linear_model import Ridge\n    return Ridge()\n").packages
    assert {"scikit-learn", "numpy", "scipy", "joblib"} <= set(nested)


def test_a_whole_module_counts_where_the_name_is_not_known(code):
    text = "import OTHER_MODULE as o\ndef target(rows):\n    return getattr(o, rows)\n"
    assert "o:*" in code(text).names
    before = code(text).names["o:*"]
    assert code(text, OTHER.replace("UNUSED = 1", "UNUSED = 2")).names["o:*"] != before


def test_an_attribute_of_a_module_counts_as_that_name(code):
    assert set(code("import OTHER_MODULE as o\ndef target(rows):\n    return o.inner(rows)\n").names) == {
        "m:target",
        "o:inner",
    }


def test_a_star_import_is_followed(code):
    assert {"o:inner"} < set(code("from OTHER_MODULE import *\ndef target(rows):\n    return inner(rows)\n").names)


def test_a_statement_that_binds_nothing_belongs_to_what_it_mentions(code):
    text = "TABLE = {}\nTABLE.update(a=1)\ndef target(rows):\n    return TABLE\n"
    assert code(text).names != code(text.replace("a=1", "a=2")).names


def test_conditional_definitions_count(code):
    text = "try:\n    import nothing_here\nexcept ImportError:\n    nothing_here = None\ndef target(rows):\n    return nothing_here\n"
    assert code(text).names != code(text.replace("= None", "= 1")).names


def test_recursion_ends(code):
    text = "def target(rows):\n    return other(rows)\ndef other(rows):\n    return target(rows)\n"
    assert set(code(text).names) == {"m:target", "m:other"}


def test_a_function_inside_a_function_counts_its_whole_module(code):
    text = "def outer():\n    def target(rows):\n        return 1\n    return target\n"
    assert "m:*" in code(text, name="outer.<locals>.target").names


def test_headraces_own_code_counts_by_its_files(code):
    names = code("import headrace as hr\ndef target(rows):\n    return hr.Artifact\n").names
    assert "headrace.models.artifact:*" in names


_docstrings = st.text(
    st.characters(codec="utf-8", exclude_characters='"\\\0', exclude_categories=["Cc", "Cs"]), max_size=60
)
_comments = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=40)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(doc=_docstrings, comment=_comments, blank=st.integers(0, 3), unparse=st.booleans())
def test_no_layout_changes_a_key(code, doc, comment, blank, unparse):
    due = code().names
    text = BASE.replace("Docs.", doc.strip() + ".").replace("# a comment", f"# {comment}")
    text = text.replace("\ndef ", "\n" * (blank + 1) + "def ").replace("@hr.step\n" + "\n" * blank, "@hr.step\n")
    if unparse:
        text = ast.unparse(ast.parse(text))
    assert code(text).names == due


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.integers(-(10**6), 10**6), second=st.integers(-(10**6), 10**6))
def test_every_constant_counts(code, first, second):
    one = code(BASE.replace("LIMIT = 3", f"LIMIT = {first}")).names
    other = code(BASE.replace("LIMIT = 3", f"LIMIT = {second}")).names
    assert (one == other) == (first == second)
