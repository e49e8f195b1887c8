import numpy as np
import pandas as pd
import pytest
from served import onnx_linear
from skl2onnx import to_onnx
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from headrace.conformance.runtime import RuntimeSuite
from headrace.engines.onnxruntime.runtime import OnnxRuntime
from headrace.errors import SignatureError
from headrace.models.signature import Column, Signature, Tensor


class TestOnnxRuntime(RuntimeSuite):
    declares = True

    @pytest.fixture
    def runtime(self):
        return OnnxRuntime()

    @pytest.fixture
    def folder(self, tmp_path):
        folder = tmp_path / "model"
        folder.mkdir()
        (folder / "model.onnx").write_bytes(onnx_linear([1, 2], output="total"))
        return folder

    def test_the_graph_says_its_inputs_and_outputs(self, runtime, folder):
        assert runtime.declared(folder).to_json() == {
            "kind": "tensor",
            "inputs": [{"name": "numbers", "dtype": "float32", "shape": [-1, 2]}],
            "outputs": [{"name": "total", "dtype": "float32", "shape": [-1]}],
        }


ROWS = np.random.default_rng(5).normal(size=(40, 2))
NUMBERS = (Column("fixed acidity", "float64"), Column("pH", "float64"))
SUM = Signature("table", NUMBERS, (Column("variable", "float64"),))
REGRESSION = make_pipeline(StandardScaler(), LinearRegression()).fit(ROWS, ROWS @ [1.0, -2.0])


@pytest.fixture
def loaded(tmp_path):
    """What loads a graph as skl2onnx made it."""

    def load(graph, signature):
        (tmp_path / "model.onnx").write_bytes(graph.SerializeToString())
        return OnnxRuntime().load(tmp_path, signature)

    return load


@pytest.mark.parametrize("kind", [FloatTensorType, DoubleTensorType])
@pytest.mark.parametrize("width", [2, None])
def test_one_matrix_of_any_name_takes_the_columns_of_a_table(loaded, kind, width):
    model = loaded(to_onnx(REGRESSION, initial_types=[("X", kind([None, width]))]), SUM)
    answers = model.score({"numbers": ROWS})["variable"]
    np.testing.assert_allclose(answers, REGRESSION.predict(ROWS), rtol=1e-4, atol=1e-6)


def _mixed():
    """A classifier of two columns of numbers and one of text; its graph's inputs by name, and its rows."""
    table = pd.DataFrame({"pH": ROWS[:, 0], "colour": ["red", "white"] * 20, "fixed acidity": ROWS[:, 1]})
    parts = make_column_transformer((StandardScaler(), ["pH", "fixed acidity"]), (OneHotEncoder(), ["colour"]))
    found = make_pipeline(parts, LogisticRegression()).fit(table, ROWS[:, 0] > ROWS[:, 1])
    return found, table


def _by_name(model, number=FloatTensorType, text=StringTensorType, **options):
    types = {"pH": number, "colour": text, "fixed acidity": number}
    named = [(name, kind([None, 1])) for name, kind in types.items()]
    return to_onnx(model, initial_types=named, target_opset=18, options=options)


MIXED = (Column("colour", "string"), *NUMBERS)


def test_each_column_goes_into_the_input_of_its_name(loaded):
    model, table = _mixed()
    graph = _by_name(model, zipmap=False)
    assert [field.name for field in graph.graph.input] == ["pH", "colour", "fixed_acidity"]
    served = loaded(graph, Signature("table", MIXED, (Tensor("probabilities", "float32", (-1, 2)),)))
    batch = {"numbers": ROWS[:, ::-1], "strings": table[["colour"]].to_numpy(object)}
    np.testing.assert_allclose(served.score(batch)["probabilities"], model.predict_proba(table), atol=1e-5)


def test_what_the_columns_do_not_fit_is_said(loaded):
    matrix = to_onnx(REGRESSION, initial_types=[("X", FloatTensorType([None, 2]))])
    more = Signature("table", (*NUMBERS, Column("ash", "float64")), SUM.outputs)
    with pytest.raises(SignatureError, match=r"'X' is .* a matrix of 3 columns is due: fixed acidity, pH, ash"):
        loaded(matrix, more)
    with pytest.raises(SignatureError, match=r"takes X: .* the columns colour, fixed acidity, pH .* by its name"):
        loaded(matrix, Signature("table", MIXED, SUM.outputs))
    with pytest.raises(SignatureError, match="no output quality - it has variable"):
        loaded(matrix, Signature("table", NUMBERS, (Column("quality", "float64"),)))
    whole = to_onnx(REGRESSION, initial_types=[("X", Int64TensorType([None, 2]))])
    nullable = Signature("table", (NUMBERS[0], Column("pH", "float64", nullable=True)), SUM.outputs)
    with pytest.raises(SignatureError, match="'pH' may be null"):
        loaded(whole, nullable)
    zipped = _by_name(_mixed()[0])
    with pytest.raises(SignatureError, match="zipmap=False"):
        loaded(zipped, Signature("table", MIXED, (Column("output_probability", "float32"),)))
    numbers = Signature("table", (Column("colour", "float64"), *NUMBERS), (Column("label", "int64"),))
    with pytest.raises(SignatureError, match="'colour' is numbers in the signature - the graph takes text"):
        loaded(_by_name(_mixed()[0], zipmap=False), numbers)
