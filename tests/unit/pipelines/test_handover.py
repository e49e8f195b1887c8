"""The hand-over matrix: whoever writes a table, the consumer's annotation decides what it gets."""

import itertools

import pytest

PRODUCERS = {
    "nw.LazyFrame": "nw.from_native(pl.DataFrame(DATA)).lazy()",
    "nw.DataFrame": "nw.from_native(pa.table(DATA), eager_only=True)",
    "pl.DataFrame": "pl.DataFrame(DATA)",
    "pl.LazyFrame": "pl.LazyFrame(DATA)",
    "pa.Table": "pa.table(DATA)",
    "pd.DataFrame": "pd.DataFrame(DATA)",
    "duckdb.DuckDBPyRelation": "duckdb.from_arrow(pa.table(DATA))",
}
IMPORTS = """
import duckdb, narwhals as nw, numpy as np, pandas as pd, polars as pl, pyarrow as pa
from sklearn.linear_model import LinearRegression
from sklearn.base import RegressorMixin
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Optional
DATA = {"id": [1, 2, 3], "label": ["a", None, "c"]}
def rows(table):
    frame = nw.from_native(table) if not isinstance(table, (nw.DataFrame, nw.LazyFrame)) else table
    frame = frame.collect() if isinstance(frame, nw.LazyFrame) else frame
    return sorted(zip(frame["id"].to_list(), [x if isinstance(x, str) else None for x in frame["label"].to_list()]))
"""
DUE = [(1, "a"), (2, None), (3, "c")]


def test_every_table_to_every_annotation(project):
    source = IMPORTS
    for i, (kind, value) in enumerate(PRODUCERS.items()):
        source += f"@hr.step\ndef make_{i}() -> {kind}:\n    return {value}\n"
        source += (
            f"@hr.step\ndef take_{i}(t: {kind}) -> list:\n"
            f"    assert isinstance(t, {kind}), type(t)\n    return rows(t)\n"
        )
    pairs = list(itertools.product(range(len(PRODUCERS)), repeat=2))
    calls = ", ".join(f"take_{j}(make_{i}_)" for i, j in pairs)
    made = "\n".join(f"    make_{i}_ = make_{i}()" for i in range(len(PRODUCERS)))
    project.write(source + f"@hr.pipeline\ndef main():\n{made}\n    return [{calls}]\n")
    run = project.prepared()
    run.is_short = lambda name: True  # in this process: 56 small steps
    report = run.execute()
    assert [s for s in report.steps if s.state == "failed"] == []
    taken = {step.reference.digest for step in report.steps if step.name.startswith("take")}
    assert len(taken) == 1
    some = next(step for step in report.steps if step.name.startswith("take"))
    assert [tuple(row["$tuple"]) for row in some.reference.tree] == DUE
    assert len({step.reference.about["rows"] for step in report.steps if step.name.startswith("make")}) == 1


@pytest.mark.parametrize(
    ("make", "returned", "annotation", "check"),
    [
        ("LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])", "LinearRegression", "LinearRegression", "x.coef_[0] > 1"),
        ("LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])", "Any", "RegressorMixin", "x.coef_[0] > 1"),
        ("LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])", "Any", "'np.ndarray | LinearRegression'", "x.coef_[0] > 1"),
        ("np.eye(3)", "np.ndarray", "np.ndarray", "x.shape == (3, 3)"),
        ("np.eye(3)", "Any", "Any", "isinstance(x, np.ndarray)"),
        ("pl.DataFrame(DATA)", "Any", "Any", "isinstance(x, pl.DataFrame)"),
        ("pl.DataFrame(DATA)", "pl.DataFrame", "Optional[pd.DataFrame]", "isinstance(x, pd.DataFrame)"),
        ("pl.DataFrame(DATA)", "pl.DataFrame", "Annotated[pa.Table, 'why']", "isinstance(x, pa.Table)"),
        ("pl.DataFrame(DATA)", "pl.DataFrame", "'np.ndarray | pd.DataFrame'", "isinstance(x, pd.DataFrame)"),
        ("[pl.DataFrame(DATA)] * 2", "list[pl.DataFrame]", "list[pd.DataFrame]", "all(isinstance(t, pd.DataFrame) for t in x)"),
        ("{'a': pl.DataFrame(DATA)}", "dict", "dict[str, pa.Table]", "isinstance(x['a'], pa.Table)"),
        ("(pl.DataFrame(DATA), 1.5)", "tuple", "tuple[pa.Table, float]", "isinstance(x[0], pa.Table)"),
        ("Kept(pd.DataFrame(DATA), np.eye(2), b'x' * 5000)", "Kept", "Kept", "isinstance(x.table, pl.DataFrame) and len(x.raw) == 5000"),
        ("written()", "Path", "Path", "x.read_text() == 'hello' and x.name == 'out.txt'"),
        ("{'a': [1, None, 2.5]}", "dict", "dict", "x == {'a': [1, None, 2.5]}"),
        ("None", "None", "'int | None'", "x is None"),
    ],
)  # fmt: skip
def test_other_values(project, make, returned, annotation, check):
    project.write(
        IMPORTS + "@dataclass\nclass Kept:\n    table: pl.DataFrame\n    array: np.ndarray\n    raw: bytes\n"
        "def written():\n    path = Path(__file__).parent / 'out.txt'\n    path.write_text('hello')\n    return path\n"
        f"@hr.step\ndef make() -> {returned}:\n    return {make}\n"
        f"@hr.step\ndef take(x: {annotation}) -> bool:\n    assert {check}, type(x)\n    return True\n"
        "@hr.pipeline\ndef main():\n    return take(make())\n"
    )
    report = project.run()
    assert report.exit_code == 0, report.steps
    assert report.result.tree is True


def test_a_reference_is_handed_over_as_it_is(project):
    project.write(
        IMPORTS + "from headrace.pipelines.references import Reference\n"
        "@hr.step\ndef make() -> pl.DataFrame:\n    return pl.DataFrame(DATA)\n"
        "@hr.step\ndef look(t: Reference) -> int:\n    assert isinstance(t, Reference)\n    return t.about['rows']\n"
        "@hr.step\ndef passed(t: Reference) -> Reference:\n    return t\n"
        "@hr.step\ndef take(t: pa.Table) -> int:\n    return t.num_rows\n"
        "@hr.pipeline\ndef main():\n    t = make()\n    return look(t), take(passed(t))\n"
    )
    report = project.run()
    assert (report.step("look").reference.tree, report.step("take").reference.tree) == (3, 3)
    assert report.step("passed").reference == report.step("make").reference


def test_what_cannot_be_handed_over_says_so(project):
    project.write(
        IMPORTS + "@hr.step\ndef make() -> np.ndarray:\n    return np.eye(2)\n"
        "@hr.step\ndef take(t: pl.DataFrame) -> int:\n    return 1\n"
        "@hr.pipeline\ndef main():\n    take(make())\n"
    )
    error = project.run().step("take").error
    assert error.startswith("a ndarray cannot be handed over as DataFrame - it is stored as numpy")


def test_equal_rows_of_another_order_change_nothing_downstream(project):
    source = IMPORTS + (
        "@hr.step\ndef make(n: int) -> pl.DataFrame:\n    return pl.DataFrame(DATA)[::-1] if n else pl.DataFrame(DATA)\n"
        "@hr.step\ndef count(t: pl.DataFrame) -> int:\n    return t.height\n"
        "@hr.pipeline\ndef main(n: int = 0):\n    return count(make(n))\n"
    )
    project.write(source)
    project.run()
    assert [step.state for step in project.run(n=1).steps] == ["done", "cached"]
