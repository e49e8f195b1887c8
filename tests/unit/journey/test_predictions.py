"""A dataset scored into a dataset: equal to HTTP, recorded, repeated for free, and nothing half made."""

import re

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import served_functions
from served import Gated
from tensor_served import onnx_double
from wine_project import WineProject

from headrace.datasets.catalogue import versions
from headrace.datasets.contents import table
from headrace.datasets.keep import Terms
from headrace.datasets.put import put
from headrace.errors import DataRefused, IntegrityError, NotFound, RunFailed, SignatureError, UsageError
from headrace.journey.predictions import Predictions, origins, predicted
from headrace.models.artifact import Artifact
from headrace.models.registry import Registration, register
from headrace.models.signature import Signature, Tensor
from headrace.sdk.functions import serve_function
from headrace.serving.endpoint import Endpoint, Preference
from headrace.serving.versions import load_model

COUNT = 20_000


@pytest.fixture
def project(tmp_path):
    opened = WineProject(tmp_path)
    opened.register(0.5)
    yield opened
    opened.close()


def bottles(count=COUNT, **changed):
    rng = np.random.default_rng(5)
    columns = {
        "id": np.arange(count),
        "ph": rng.uniform(2.8, 3.9, count),
        "density": rng.uniform(0.98, 1.01, count),
        "alcohol": rng.uniform(8, 14, count),
        "seller": [f"s{i % 7}" for i in range(count)],
    }
    return pa.table({**columns, **changed})


def put_bottles(project, rows=None, name="bottles"):
    path = project.root / f"{name}.parquet"
    pq.write_table(bottles() if rows is None else rows, path)
    return put(project.platform.stores(), name, path, licence="CC-BY-4.0")


def predict(project, **asked):
    asked = {"model": "wine", "data": "bottles", "to": "scored", **asked}
    told = []
    done = predicted(
        project.platform.stores(), project.platform.runtime, Predictions(**asked), lambda *n: told.append(n)
    )
    return done, told


def rows_of(project, version, by="id"):
    return table(project.platform.stores(), version).sort(by).collect("pyarrow").to_arrow()


def test_scores_equal_those_of_the_gateway(project, tmp_path):
    put_bottles(project)
    done, told = predict(project)
    assert (str(done.version), done.version.rows, done.new) == ("scored@1", COUNT, True)
    assert told[-1] == (COUNT, COUNT)
    assert sorted(told) == told
    found = rows_of(project, done.version)
    assert found.column_names == ["id", "ph", "density", "alcohol", "seller", "quality"]
    model = load_model(project.platform.ledger(), project.platform.files(), project.platform.runtime, "wine@1")
    gate = Gated(tmp_path / "stream")
    gate.flip(Endpoint("wine", (Preference("wine@1", 2.0),), 3.0, {}, log="off"), {"wine@1": model})
    columns = {name: found[name].to_pylist() for name in ("alcohol", "density", "ph")}
    answers = gate.client.predict("wine", columns=columns).values
    gate.close()
    model.loaded.close()
    np.testing.assert_allclose(found["quality"].to_numpy(), answers, rtol=0, atol=1e-5)


def test_what_is_recorded_and_what_is_a_repetition(project):
    data = put_bottles(project)
    first, _ = predict(project)
    ledger = project.platform.ledger()
    (fact,) = origins(ledger, first.version)
    assert dict(fact.body) == {
        "version": 1,
        "model": "wine@1",
        "model_digest": first.model.digest,
        "dataset": "bottles@1",
        "dataset_digest": data.digest,
        "keep": None,
    }
    assert first.version.licence == "CC-BY-4.0 AND CC0-1.0"
    again, told = predict(project, model="wine@1", data="bottles@1")
    assert (again.version, again.new, told) == (first.version, False, [])
    project.register(1.5)
    newer, _ = predict(project)
    assert (newer.version.version, str(newer.model)) == (2, "wine@2")
    assert predict(project, model="wine@1")[0].version == first.version
    assert [v.version for v in versions(ledger, "scored")] == [1, 2]


def test_equal_scores_of_another_model_are_one_version_with_two_origins(project):
    put_bottles(project)
    first, _ = predict(project)
    project.register(0.5, name="copy")
    second, _ = predict(project, model="copy")
    assert (second.version, second.new) == (first.version, True)
    assert [fact.body["model"] for fact in origins(project.platform.ledger(), first.version)] == ["wine@1", "copy@1"]
    assert predict(project, model="copy")[0].new is False


def test_columns_are_kept_as_asked(project):
    put_bottles(project)
    assert list(predict(project, keep=["seller", "id"])[0].version.schema) == ["seller", "id", "quality"]
    assert dict(predict(project, keep=(), to="bare")[0].version.schema) == {"quality": "Float32"}
    with pytest.raises(SignatureError, match="no column 'colour' to keep - bottles@1 - the table has id, ph"):
        predict(project, keep=["colour"], to="other")
    put_bottles(project, bottles(quality=np.zeros(COUNT)), name="graded")
    with pytest.raises(SignatureError, match=r"column 'quality' stands in the way .* --keep id --keep ph"):
        predict(project, data="graded", to="other")
    assert list(predict(project, data="graded", keep=["id"], to="other")[0].version.schema) == ["id", "quality"]


def nothing_left(project, name="scored"):
    stores = project.platform.stores()
    assert versions(stores.ledger, name) == []
    assert stores.files.list(f"datasets/{name}/") == []
    assert not list(stores.scratch.rglob("predict-*"))


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"ph": [3.0] * 15_000 + [None] + [3.0] * 4_999}, "column 'ph' is null - bad@1, row 15000"),
        ({"density": [1.0] * 19_999 + [float("inf")]}, "'density' is refused - bad@1, row 19999 - .*beyond float32"),
        ({"alcohol": ["12"] * COUNT}, "'alcohol' is refused - bad@1 - numbers are due, the table has string"),
    ],
)
def test_a_fault_names_its_row_and_leaves_nothing(project, cells, said):
    put_bottles(project, bottles(**cells), name="bad")
    with pytest.raises(SignatureError, match=said):
        predict(project, data="bad")
    nothing_left(project)


def test_other_refusals_leave_nothing(project):
    put_bottles(project)
    for wrong, kind in (
        ({"model": "beer"}, NotFound),
        ({"data": "bottles@9"}, NotFound),
        ({"to": "bottles"}, UsageError),
        ({"to": "../x"}, UsageError),
    ):
        with pytest.raises(kind):
            predict(project, **wrong)
    project.model_file(project.register(3.0)).write_bytes(b"no model")
    with pytest.raises(IntegrityError):
        predict(project)
    nothing_left(project)


def test_an_interrupt_leaves_nothing(project):
    put_bottles(project)

    def stop(done, _total):
        if done > 5000:
            raise KeyboardInterrupt

    stores = project.platform.stores()
    with pytest.raises(KeyboardInterrupt):
        predicted(stores, project.platform.runtime, Predictions("wine", "bottles", "scored"), stop)
    nothing_left(project)
    assert predict(project)[0].version.version == 1


def test_a_result_of_other_columns_breaks_its_contract(project):
    put_bottles(project)
    predict(project)
    with pytest.raises(DataRefused, match="--new-contract"):
        predict(project, keep=["id"])
    assert predict(project, keep=["id"], terms=Terms(fresh=True))[0].version.version == 2


def test_a_model_that_fails_names_the_rows(project):
    example = pl.DataFrame({"alcohol": [1.0]})
    register(project.platform.stores(), serve_function(served_functions.sober), Registration("sober", example, "MIT"))
    put_bottles(project, bottles(alcohol=np.arange(COUNT) / COUNT * 20))
    with pytest.raises(RunFailed, match=r"sober@1 did not score - rows \d+ to \d+ - .*15.0 is too much") as failed:
        predict(project, model="sober")
    first, last = map(int, re.findall(r"rows (\d+) to (\d+)", failed.value.where)[0])
    assert first <= 15_001 <= last
    nothing_left(project)


def test_a_model_of_tensors_takes_lists(project):
    tensor = Signature("tensor", (Tensor("x", "float32", (-1, 2, 3)),), (Tensor("y", "float32", (-1, 2, 3)),))
    example = {"x": np.ones((2, 2, 3), np.float32)}
    asked = Registration("double", example, "CC0-1.0", answers={"y": example["x"] * 2}, signature=tensor)
    register(project.platform.stores(), Artifact("onnx", {"model.onnx": onnx_double()}, ("x",), ("y",)), asked)
    flat = [[float(i + j) for j in range(6)] for i in range(700)]
    put_bottles(project, pa.table({"id": range(700), "x": flat}), name="pictures")
    done, _ = predict(project, model="double", data="pictures", keep=["id"])
    assert done.version.schema["y"] == "List(List(Float32))"
    found = rows_of(project, done.version)["y"].to_pylist()
    assert found == [[[2 * v for v in row[:3]], [2 * v for v in row[3:]]] for row in flat]
    put_bottles(project)
    due = r"column 'x' is missing - bottles@1 - the model takes x: float32 \[-1, 2, 3\]"
    with pytest.raises(SignatureError, match=due):
        predict(project, model="double", to="other")


def test_params_are_told_to_the_model_and_tell_results_apart(project):
    put_bottles(project, pa.table({"a": [1.0, 3.0]}))
    artifact = serve_function(served_functions.powered, outputs=("y",))
    register(project.platform.stores(), artifact, Registration("power", pl.DataFrame({"a": [2.0]}), "CC0-1.0"))
    asked = {"model": "power", "to": "powers"}
    plain, _ = predict(project, **asked)
    told, _ = predict(project, **asked, params={"power": 3, "by": [1]})
    assert rows_of(project, plain.version, by="a")["y"].to_pylist() == [1.75, 9.75]
    assert rows_of(project, told.version, by="a")["y"].to_pylist() == [2.0, 28.0]
    (fact,) = origins(project.platform.ledger(), told.version)
    assert fact.body["params"] == {"power": 3, "by": [1.0]}
    for params, version in (({}, plain), ({"by": [1.0], "power": 3}, told)):
        again, _ = predict(project, **asked, params=params)
        assert (again.version, again.new) == (version.version, False)
    with pytest.raises(SignatureError, match="'pover' is not one of this model"):
        predict(project, **asked, params={"pover": 3})
