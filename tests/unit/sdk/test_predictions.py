"""``hr.score_dataset``: from a script as the command does it, in a run as an effect with fixed versions."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from served import onnx_artifact
from wine_project import COLUMNS, WineProject

import headrace as hr
from headrace.datasets.catalogue import versions
from headrace.datasets.put import put
from headrace.errors import DataRefused, NotFound, SignatureError, UsageError
from headrace.sdk import ambient
from headrace.sdk.running import Request, run

PIPELINE = """
import headrace as hr

@hr.gate
def allowed(most: int) -> None:
    assert most > 1

@hr.pipeline
def nightly(most: int = 5):
    allowed(most)
    return hr.score_dataset("wine", data="bottles", to="scored", keep=["id"])
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    opened = WineProject(tmp_path)
    opened.register(0.5)
    (tmp_path / "nights.py").write_text(PIPELINE)
    monkeypatch.syspath_prepend(str(tmp_path))
    with ambient.use(opened.platform):
        yield opened
    opened.close()


def put_bottles(project, count=20, name="bottles", **changed):
    rng = np.random.default_rng(count)
    columns = {column: rng.uniform(1, 2, count) for column in COLUMNS}
    pq.write_table(pa.table({"id": range(count), **(columns | changed)}), project.root / f"{name}.parquet")
    put(project.platform.stores(), name, project.root / f"{name}.parquet", licence="MIT")
    return columns


def scored(project):
    return [str(version) for version in versions(project.platform.ledger(), "scored")]


def test_a_script_scores_as_the_command_does(project):
    columns = put_bottles(project)
    assert hr.score_dataset("wine@1", data="bottles", to="scored", keep=["id"]) == "scored@1"
    rows = hr.dataset("scored@1").sort("id").collect()
    assert rows.columns == ["id", "quality"]
    due = columns["alcohol"] + 10 * columns["density"] + 100 * columns["ph"] + 0.5
    np.testing.assert_allclose(rows["quality"].to_numpy(), due, rtol=1e-5)
    assert hr.score_dataset("wine", data="bottles@1", to="scored", keep=["id"]) == "scored@1"
    with pytest.raises(DataRefused):
        hr.score_dataset("wine", data="bottles", to="scored", keep=["ph"])
    assert hr.score_dataset("wine", data="bottles", to="scored", keep=["ph"], new_contract=True) == "scored@2"
    with pytest.raises(NotFound, match="no model named 'nothing'"):
        hr.score_dataset("nothing", data="bottles", to="scored")
    put_bottles(project, name="sour", ph=["acid"] * 20)
    with pytest.raises(SignatureError, match="'ph'"):
        hr.score_dataset("wine", data="sour", to="scored")


def test_a_model_of_the_scratch_registry_is_not_taken_for_the_projects(project):
    put_bottles(project)
    version = hr.register(
        onnx_artifact(COLUMNS, [1, 10, 100], 7), name="wine", example=pa.table(COLUMNS), licence="MIT"
    )
    assert str(version) == "wine@1"  # as the project's own is called
    with pytest.raises(UsageError, match="wine@1 is not registered here"):
        hr.score_dataset(version, data="bottles", to="scored")
    assert scored(project) == []


def test_a_run_scores_what_the_references_meant_when_it_was_planned(project):
    put_bottles(project)
    refused = run(Request("nights:nightly", {"most": 1}))
    assert (refused.exit_code, scored(project)) == (3, [])
    assert run(Request("nights:nightly")).exit_code == 0
    assert scored(project) == ["scored@1"]
    again = {step.name: step.state for step in run(Request("nights:nightly")).steps}
    assert again["score_dataset"] == "cached"
    put_bottles(project, 30)
    assert run(Request("nights:nightly")).exit_code == 0
    assert scored(project) == ["scored@1", "scored@2"]
    project.register(1.5)
    assert run(Request("nights:nightly")).exit_code == 0
    assert scored(project) == ["scored@1", "scored@2", "scored@3"]
