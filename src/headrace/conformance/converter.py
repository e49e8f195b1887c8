"""What every Converter engine must do. Subclass ``ConverterSuite`` and fill in its fixtures."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from headrace.errors import UsageError
from headrace.evaluation.parity import parity
from headrace.models.artifact import Artifact
from headrace.models.infer import dtypes_of, eager, signature_of
from headrace.models.runtime import Runtime
from headrace.models.scoring import answers, batch_of, loaded
from headrace.optimization.converter import Converter


@dataclass(frozen=True)
class Trained:
    """A trained model of the engine's framework and rows for it.

    Attributes:
        model: A binary classifier or a regressor.
        rows: A table with the model's inputs, nulls among them, and a column that is none.
        tolerance: How far the artifact may answer from the model.
    """

    model: Any
    rows: Any
    tolerance: float = 1e-5


def served(runtime: Runtime, artifact: Artifact, rows: Any) -> Any:
    """What the artifact answers for a table."""
    frame = eager(rows)
    signature = signature_of(artifact, frame)
    with loaded(runtime, artifact, signature) as model:
        return answers(model, batch_of(frame, signature), artifact.outputs)


class ConverterSuite:
    """Cases for the port ``optimization.converter.Converter``."""

    @pytest.fixture
    def converter(self) -> Converter:
        """The engine under test."""
        raise NotImplementedError

    @pytest.fixture
    def runtime(self) -> Runtime:
        """Loads what the engine exports."""
        raise NotImplementedError

    @pytest.fixture
    def trained(self) -> Trained:
        """A model to export."""
        raise NotImplementedError

    def test_it_knows_its_own_models_only(self, converter: Converter, trained: Trained) -> None:
        """Other objects are somebody else's."""
        assert converter.fits(trained.model)
        assert not converter.fits(object())

    def test_the_artifact_answers_alike(self, converter: Converter, runtime: Runtime, trained: Trained) -> None:
        """Every row, nulls included, within the tolerance."""
        artifact = converter.convert(trained.model, dtypes_of(trained.rows), to="onnx", output="answer")
        due = converter.predict(trained.model, eager(trained.rows), artifact.inputs)
        found = parity(due, served(runtime, artifact, trained.rows), tolerance=trained.tolerance)
        assert artifact.outputs == ("answer",)
        assert found.holds, found

    def test_one_row_answers_as_it_does_among_many(
        self, converter: Converter, runtime: Runtime, trained: Trained
    ) -> None:
        """The number of rows is free and decides nothing."""
        artifact = converter.convert(trained.model, dtypes_of(trained.rows), to="onnx", output="answer")
        many = served(runtime, artifact, trained.rows)
        one = served(runtime, artifact, eager(trained.rows).head(1))
        assert one.shape == (1,)
        np.testing.assert_allclose(one, many[:1], atol=1e-6)

    def test_the_order_of_columns_decides_nothing(
        self, converter: Converter, runtime: Runtime, trained: Trained
    ) -> None:
        """Shuffled rows score as before, shuffled at training's description or at serving."""
        dtypes = dtypes_of(trained.rows)
        turned = dict(reversed(dtypes.items()))
        first = converter.convert(trained.model, dtypes, to="onnx", output="answer")
        second = converter.convert(trained.model, turned, to="onnx", output="answer")
        frame = eager(trained.rows)
        shuffled = frame.select(list(reversed(frame.columns)))
        expected = served(runtime, first, frame)
        np.testing.assert_allclose(served(runtime, second, shuffled), expected, atol=1e-6)
        np.testing.assert_allclose(converter.predict(trained.model, shuffled, second.inputs), expected, atol=1e-5)

    def test_equal_models_give_equal_bytes(self, converter: Converter, trained: Trained) -> None:
        """A registry can tell that nothing changed."""
        first, second = (
            converter.convert(trained.model, dtypes_of(trained.rows), to="onnx", output="answer") for _ in range(2)
        )
        assert first == second

    def test_an_unknown_format_is_refused(self, converter: Converter, trained: Trained) -> None:
        """With the format that works."""
        with pytest.raises(UsageError, match="onnx"):
            converter.convert(trained.model, dtypes_of(trained.rows), to="punched-cards", output="answer")

    def test_a_missing_input_is_named(self, converter: Converter, trained: Trained) -> None:
        """Rows without one of the model's columns are refused by its name."""
        dtypes = dtypes_of(trained.rows)
        artifact = converter.convert(trained.model, dtypes, to="onnx", output="answer")
        gone = artifact.inputs[0]
        left = {name: dtype for name, dtype in dtypes.items() if name != gone}
        with pytest.raises(UsageError, match=gone):
            converter.convert(trained.model, left, to="onnx", output="answer")
