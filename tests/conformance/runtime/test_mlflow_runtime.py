"""MLflow's own model folders, each in a worker, beside what ``mlflow.pyfunc.load_model`` answers."""

import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from mlflow_saved import SUMS, bare, save, schemas, shifts, wrapped

from headrace.conformance.runtime import RuntimeSuite
from headrace.engines.mlflow.quiet import quiet
from headrace.engines.mlflow.runtime import open_runtime
from headrace.errors import IntegrityError, ParityFailed, Refused, SignatureError
from headrace.models.params import Param, checked_params
from headrace.models.runtime import to_batch
from headrace.models.signature import Column, Signature, Tensor
from headrace.models.version import ModelVersion
from headrace.serving.versions import compare
from headrace.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore")

ROWS = pd.DataFrame({"a": [1.0, 3.0], "b": [2.0, np.nan]})
TOTALS = pd.DataFrame({"total": [5.0, 1.0]})


@pytest.fixture
def runtime(tmp_path):
    return open_runtime(Settings(root=tmp_path), "mlflow")


@pytest.fixture(scope="module")
def sums(tmp_path_factory):
    """A model of a loader of its own, as its author saved it."""
    folder = tmp_path_factory.mktemp("mlflow") / "sums"
    weights = json.dumps({"a": 1, "b": 2})
    return save(folder, SUMS, weights, signature=schemas(ROWS, TOTALS), input_example=ROWS.head(1))


class TestMlflowRuntime(RuntimeSuite):
    declares = True
    shows = True
    shows_a_cut = False

    @pytest.fixture
    def runtime(self, runtime):
        return runtime

    @pytest.fixture
    def folder(self, tmp_path, sums):
        bare(shutil.copytree(sums, tmp_path / "bare"))
        return wrapped(tmp_path / "bare", tmp_path / "model")

    @pytest.fixture
    def tensors(self):
        column = (-1,)
        inputs = tuple(Tensor(name, "float64", column) for name in ("a", "b"))
        return Signature("tensor", inputs, (Tensor("total", "float32", column),))


def test_what_nobody_trusts_is_not_even_imported(runtime, sums, tmp_path):
    """Neither to load it, nor to ask what it takes or shows."""
    folder = wrapped(shutil.copytree(sums, tmp_path / "copy"), tmp_path / "model", trusted=())
    touched = tmp_path / "touched"
    (folder / "model.mlflow/code/own_loader.py").write_text(f"open({str(touched)!r}, 'w')\n")
    signature = Signature("table", (Column("a", "float64"),), (Column("total", "float32"),))
    for ask in (lambda: runtime.load(folder, signature), lambda: runtime.examples(folder, signature)):
        with pytest.raises(Refused, match="--trust pickle"):
            ask()
    with pytest.raises(Refused, match="--trust pickle"):
        runtime.declared(folder)
    assert not touched.exists()
    (folder / "trusted.json").write_text('["pickle"]')
    runtime.declared(folder)  # it is read from the MLmodel alone
    assert not touched.exists()
    with pytest.raises(IntegrityError):
        runtime.load(folder, signature)
    assert touched.exists()


def pyfunc(folder, rows, params=None):
    """What MLflow itself answers."""
    sys.modules.pop("own_loader", None)  # every model here has one
    with quiet():
        from mlflow import pyfunc

        return pyfunc.load_model(str(folder), suppress_warnings=True).predict(rows, params=params)


TYPED = """
    import numpy as np
    import pandas as pd

    class Typed:
        def predict(self, rows, params=None):
            print("a model may print")
            assert list(rows.columns) == ["grape", "year", "sweet", "ash", "price"], list(rows.columns)
            kinds = [str(rows[name].dtype) for name in ("year", "sweet", "ash", "price")]
            assert kinds == ["int32", "bool", "float32", "float64"], kinds
            known = rows["grape"].map({"red": 1.0, "white": 2.0}).fillna(0.5).astype(float)
            return np.column_stack([known * rows["price"], rows["year"] + rows["sweet"] * rows["ash"]])

    def _load_pyfunc(path):
        return Typed()
"""


def test_columns_of_every_type_are_found_by_name_and_answered_as_mlflow_does(runtime, tmp_path):
    rows = pd.DataFrame(
        {
            "grape": ["red", "white", None],
            "year": np.array([2001, 2002, 2003], "int32"),
            "sweet": [True, False, True],
            "ash": np.array([1.5, 2.5, 3.5], "float32"),
            "price": [10.0, 20.0, 30.0],
        }
    )
    saved = save(tmp_path / "typed", TYPED, "{}", signature=schemas(rows, np.zeros((3, 2))), input_example=rows)
    folder, due = wrapped(saved, tmp_path / "model"), pyfunc(saved, rows)
    signature = runtime.declared(folder)
    assert signature.columns == (
        Column("grape", "string", nullable=True),
        Column("year", "int64"),
        Column("sweet", "bool"),
        Column("ash", "float32"),
        Column("price", "float64"),
    )
    assert [c.name for c in signature.outputs] == ["output_0", "output_1"]
    shown = runtime.examples(folder, signature)
    assert shown["columns"]["grape"] == ["red", "white", None]
    assert shown["columns"]["sweet"] == [True, False, True]
    np.testing.assert_allclose(np.column_stack(list(shown["outputs"].values())), due, rtol=1e-6)
    assert shown["tolerance"] == pytest.approx(due.max() * 1e-5)
    other = Signature("table", tuple(reversed(signature.columns)), signature.outputs)
    model = runtime.load(folder, other)  # in any order
    answers = model.score(to_batch(shown["columns"], other))
    np.testing.assert_allclose(np.column_stack([answers["output_0"], answers["output_1"]]), due, rtol=1e-6)
    model.close()


TENSORS = """
    class Scales:
        def predict(self, given, params=None):
            if isinstance(given, dict):
                return {"scaled": given["x"] * given["by"][:, None], "words": given["word"]}
            return given * 2

    def _load_pyfunc(path):
        return Scales()
"""


def test_tensors_by_name_and_the_one_without(runtime, tmp_path):
    given = {
        "x": np.arange(6, dtype=np.float32).reshape(2, 3),
        "by": np.array([2, 3], np.int64),
        "word": np.array(["a", "b"], object),
    }
    answers = {"scaled": given["x"] * given["by"][:, None].astype(np.float32), "words": given["word"]}
    saved = save(tmp_path / "named", TENSORS, "{}", signature=schemas(given, answers))
    folder = wrapped(saved, tmp_path / "model")
    signature = runtime.declared(folder)
    assert signature.tensors == (
        Tensor("x", "float32", (-1, 3)),
        Tensor("by", "int64", (-1,)),
        Tensor("word", "string", (-1,)),
    )
    assert runtime.examples(folder, signature) is None  # it was saved without
    model = runtime.load(folder, signature)
    found = model.score(given)
    np.testing.assert_allclose(found["scaled"], answers["scaled"])
    assert found["words"].tolist() == ["a", "b"]
    model.close()
    saved = save(tmp_path / "one", TENSORS, "{}", signature=schemas(given["x"], given["x"]), input_example=given["x"])
    folder = wrapped(saved, tmp_path / "other")
    signature = runtime.declared(folder)
    assert signature == Signature(
        "tensor", (Tensor("input", "float32", (-1, 3)),), (Tensor("output", "float32", (-1, 3)),)
    )
    assert runtime.examples(folder, signature)["outputs"]["output"] == (given["x"] * 2).tolist()
    table = Signature("table", tuple(Column(n, "float64") for n in "abc"), tuple(Column(n, "float32") for n in "xyz"))
    model = runtime.load(folder, table)  # its author knows what the columns are
    np.testing.assert_allclose(model.score({"numbers": given["x"]})["y"], given["x"][:, 1] * 2)
    model.close()
    with pytest.raises(SignatureError, match="takes 3 columns"):
        runtime.load(folder, Signature("table", table.inputs[:2], table.outputs))


NAMES = """
    import numpy as np

    class Names:
        def predict(self, rows, params=None):
            return np.where(rows["a"] > rows["b"], "red", "white")

    def _load_pyfunc(path):
        return Names()
"""


def test_columns_that_are_answered_with_text_are_tensors_by_name(runtime, tmp_path):
    rows, due = pd.DataFrame({"a": [1.0, 2.0], "b": [1, 3]}), ["white", "white"]
    saved = save(tmp_path / "names", NAMES, "{}", signature=schemas(rows, np.array(due)), input_example=rows)
    folder = wrapped(saved, tmp_path / "model")
    signature = runtime.declared(folder)
    inputs = (Tensor("a", "float64", (-1,)), Tensor("b", "int64", (-1,)))
    assert signature == Signature("tensor", inputs, (Tensor("output", "string", (-1,)),))
    assert runtime.examples(folder, signature)["outputs"] == {"output": due}
    model = runtime.load(folder, signature)
    given = {"b": np.array([0, 5]), "a": np.array([0.5, 0.5])}
    assert model.score(given)["output"].tolist() == ["red", "white"]
    model.close()


MANY = """
    class Many:
        def predict(self, rows, params=None):
            wide = rows["a"] * 123_456_789.12
            return wide.to_frame("wide").assign(label=rows["a"].astype("int64"))

    def _load_pyfunc(path):
        return Many()
"""


def test_answers_are_of_the_types_of_the_mlmodel(runtime, tmp_path):
    rows = pd.DataFrame({"a": [1.0, 3.0]})
    answers = pd.DataFrame({"wide": [123_456_789.12, 370_370_367.36], "label": [1, 3]})
    saved = save(tmp_path / "many", MANY, "{}", signature=schemas(rows, answers), input_example=rows)
    folder = wrapped(saved, tmp_path / "model")
    signature = runtime.declared(folder)
    assert signature.outputs == (Column("wide", "float64"), Column("label", "int64"))
    model = runtime.load(folder, signature)
    found = model.score({"numbers": rows.to_numpy()})
    assert {name: values.tolist() for name, values in found.items()} == answers.to_dict("list")
    model.close()


@pytest.mark.parametrize(
    ("inputs", "outputs", "said"),
    [
        (pd.DataFrame({"when": pd.to_datetime(["2026-01-01"])}), np.zeros(1), "'when' cannot be served"),
        (pd.DataFrame({"a": [1.0, np.nan]}), np.array(["red", "red"]), "is text"),
        (pd.DataFrame({"a": [1.0]}), None, "says no outputs"),
    ],
)
def test_what_cannot_be_served_is_said_with_what_to_do(runtime, tmp_path, inputs, outputs, said):
    saved = save(tmp_path / "saved", SUMS, "{}", signature=schemas(inputs, outputs))
    with pytest.raises(SignatureError, match=rf"{said}.*--signature"):
        runtime.declared(wrapped(saved, tmp_path / "model"))


NEEDY = "import no_such_package_at_all\n"


def test_a_package_that_is_missing_is_named(runtime, tmp_path):
    saved = save(tmp_path / "saved", SUMS, "{}", signature=schemas(ROWS, TOTALS))
    (saved / "code/own_loader.py").write_text(NEEDY)
    with pytest.raises(Exception, match=r"needs no_such_package_at_all.*requirements\.txt"):
        runtime.load(wrapped(saved, tmp_path / "model"), runtime.declared(wrapped(saved, tmp_path / "asked")))


COLUMN = pd.DataFrame({"a": [1.0, 3.0]})


@pytest.fixture(scope="module")
def shifting(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow") / "shifts"
    return shifts(folder, COLUMN, outputs=pd.DataFrame({"total": [7.75, 11.75]}))


TOLD = [
    {},
    {"factor": 3},
    {"factor": 0.5, "times": 2, "up": False},
    {"by": [], "who": "", "how": {"more": 5}},
    {"by": [1, 2.5], "day": "2026-01-31"},
]


def test_params_are_declared_and_told_as_mlflow_tells_them(runtime, shifting, tmp_path):
    folder = wrapped(shifting, tmp_path / "model")
    signature = runtime.declared(folder)
    assert {p.name: (p.kind, p.many, p.default) for p in signature.params} == {
        "factor": ("float64", False, 2.0),
        "times": ("int64", False, 1),
        "up": ("bool", False, True),
        "by": ("float64", True, [0.5, 0.25]),
        "who": ("string", False, "ann"),
        "day": ("datetime", False, "2026-05-01"),
        "how": ("object", False, {"more": 1}),
    }
    assert Signature.from_json(json.loads(json.dumps(signature.to_json()))) == signature
    model = runtime.load(folder, signature)
    batch = to_batch({"a": [1.0, 3.0]}, signature)
    for said in TOLD:
        found = model.tuned(checked_params(signature.params, said)).score(batch)
        np.testing.assert_allclose(found["total"], pyfunc(shifting, COLUMN, said)["total"], rtol=1e-6)
    np.testing.assert_allclose(model.score(batch)["total"], pyfunc(shifting, COLUMN)["total"], rtol=1e-6)
    model.close()


def test_a_signature_with_other_params_than_the_model_is_refused(runtime, shifting, tmp_path):
    folder = wrapped(shifting, tmp_path / "model")
    signature = runtime.declared(folder)
    runtime.load(folder, replace(signature, params=())).close()  # its callers may say none
    other = (Param("power", "float64", 1.0),)
    with pytest.raises(SignatureError, match=r"MLmodel declares factor: float64 = 2\.0"):
        runtime.load(folder, replace(signature, params=other))


def test_the_params_of_an_example_are_told_and_recorded_with_it(runtime, tmp_path):
    said = {"factor": 3.0, "by": [1.0]}
    saved = shifts(tmp_path / "saved", COLUMN, outputs=pd.DataFrame({"total": [1.0]}), params=said)
    folder, due = wrapped(saved, tmp_path / "model"), pyfunc(saved, COLUMN, said)["total"]
    signature = runtime.declared(folder)
    shown = runtime.examples(folder, signature)
    assert shown["params"] == said
    np.testing.assert_allclose(shown["outputs"]["total"], due)
    version = ModelVersion("shifts", 1, "00", signature, "mlflow")
    model = runtime.load(folder, signature)
    assert compare("shifts@1", model, version, shown) == 2
    with pytest.raises(ParityFailed):
        compare("shifts@1", model, version, {**shown, "params": {"factor": 4.0}})
    with pytest.raises(SignatureError, match="'fator' is not one of this model"):
        compare("shifts@1", model, version, {**shown, "params": {"fator": 4.0}})
    model.close()
