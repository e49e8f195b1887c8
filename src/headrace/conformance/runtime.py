"""What every Runtime engine must do. Subclass ``RuntimeSuite`` and return the engine and a model of its format."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from headrace.errors import HeadraceError, IntegrityError, RunFailed, SignatureError
from headrace.models.runtime import Runtime, to_batch
from headrace.models.signature import Column, Signature, Tensor

SUM = Signature("table", (Column("a", "float64"), Column("b", "float64", nullable=True)), (Column("total", "float32"),))
"""The signature of the model under test: ``total`` = a + 2 b, one float32 a row."""

Due = Callable[[NDArray[np.float32]], NDArray[Any]]
"""Rows to what the model under test answers."""

_ROWS = np.array([[1.0, 2.0], [3.0, -4.0], [0.5, 0.25]], dtype=np.float32)


class RuntimeSuite:
    """Cases for the port ``models.runtime.Runtime``.

    Attributes:
        names_outputs: Whether the format itself says what outputs are called.
        declares: Whether the format itself says what a model takes and gives.
        shows: Whether rows come with the model under test, with what it answers them.
        shows_a_cut: Whether half a file is never a whole one, as half a program may be.
    """

    names_outputs = True
    declares = False
    shows = False
    shows_a_cut = True

    @pytest.fixture
    def runtime(self) -> Runtime:
        """The engine under test."""
        raise NotImplementedError

    @pytest.fixture
    def folder(self) -> Path:
        """Files of a model with the signature ``SUM``."""
        raise NotImplementedError

    @pytest.fixture
    def due(self) -> Due:
        """What the model answers rows, [rows, 2] to [rows]; a model that cannot be a sum says so here."""
        return lambda rows: rows[:, 0] + 2 * rows[:, 1]

    @pytest.fixture
    def tensors(self) -> Signature:
        """A signature of tensors that the same model fits: its inputs have the columns of ``SUM`` in order."""
        return Signature("tensor", (Tensor("numbers", "float32", (-1, 2)),), (Tensor("total", "float32", (-1,)),))

    def test_a_batch_is_scored_row_by_row(self, runtime: Runtime, folder: Path, due: Due) -> None:
        """One value a row, by name, whatever the number of rows."""
        model = runtime.load(folder, SUM)
        for count in (1, 2, 3):
            total = model.score({"numbers": _ROWS[:count]})["total"]
            assert total.shape == (count,)
            np.testing.assert_allclose(total, due(_ROWS[:count]), rtol=1e-6)
        model.close()

    def test_tensors_are_scored_by_name(self, runtime: Runtime, folder: Path, tensors: Signature, due: Due) -> None:
        """One array an input in, one an output out, of the signature's type and extents."""
        model = runtime.load(folder, tensors)
        (output,) = tensors.outputs
        for count in (1, 3):
            total = model.score(_parted(_ROWS[:count], tensors))[output.name]
            assert total.dtype == np.float32
            assert total.shape == (count, *_extents(output)[1:])
            np.testing.assert_allclose(total.reshape(count), due(_ROWS[:count]), rtol=1e-6)
        model.close()

    def test_what_is_declared_can_be_served(self, runtime: Runtime, folder: Path) -> None:
        """A signature that loads and scores; None where the format says nothing, an error for a name it lacks."""
        signature = runtime.declared(folder)
        assert (signature is not None) == self.declares
        if signature is None:
            return
        model = runtime.load(folder, signature)
        rows = {t.name: np.zeros([max(n, 1) for n in t.shape], t.dtype) for t in signature.tensors}
        if signature.kind == "table":
            rows = {"numbers": np.zeros((1, len(signature.columns)), np.float32)}
        assert set(model.score(rows)) == {output.name for output in signature.outputs}
        model.close()
        with pytest.raises(SignatureError, match="no_such_name"):
            runtime.declared(folder, "no_such_name")

    def test_rows_that_come_with_a_model_are_what_it_answers(self, runtime: Runtime, folder: Path) -> None:
        """As ``examples.json`` says them; None where the format keeps none."""
        found = runtime.examples(folder, SUM)
        assert (found is not None) == self.shows
        if found is None:
            return
        model = runtime.load(folder, SUM)
        total = model.score(to_batch(found["columns"], SUM))["total"]
        np.testing.assert_allclose(total, found["outputs"]["total"], atol=found["tolerance"])
        assert len(total) > 0
        model.close()

    def test_null_travels_as_nan(self, runtime: Runtime, folder: Path, due: Due) -> None:
        """The model sees it; what it makes of it is its own."""
        model = runtime.load(folder, SUM)
        rows = np.array([[1.0, np.nan]], np.float32)
        np.testing.assert_allclose(model.score({"numbers": rows})["total"], due(rows), rtol=1e-6)
        model.close()

    def test_several_threads_score_at_once(self, runtime: Runtime, folder: Path, due: Due) -> None:
        """Answers do not mix."""
        model = runtime.load(folder, SUM)

        def score(number: int) -> bool:
            rows = np.full((2, 2), number, np.float32)
            return bool(np.allclose(model.score({"numbers": rows})["total"], due(rows), rtol=1e-6))

        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(score, range(200)))
        model.close()

    def test_a_batch_that_does_not_fit_fails_in_our_words(self, runtime: Runtime, folder: Path) -> None:
        """Wrong width, missing matrix: ``RunFailed``, with the cause kept."""
        model = runtime.load(folder, SUM)
        for batch in ({"numbers": np.zeros((1, 3), np.float32)}, {}):
            with pytest.raises(RunFailed) as caught:
                model.score(batch)
            assert caught.value.__cause__ is not None
        model.close()

    def test_a_closed_model_says_so(self, runtime: Runtime, folder: Path) -> None:
        """It does not crash the process."""
        model = runtime.load(folder, SUM)
        model.close()
        model.close()
        with pytest.raises(RunFailed):
            model.score({"numbers": _ROWS})

    def test_another_signature_is_refused_at_load(self, runtime: Runtime, folder: Path) -> None:
        """Too many columns, text where the model has none, an output that it lacks."""
        other = Column("other", "float32")
        wrong = (
            Signature("table", (*SUM.columns, Column("c", "float64")), SUM.outputs),
            Signature("table", (*SUM.columns, Column("c", "string")), SUM.outputs),
            Signature("table", SUM.inputs, (other,) if self.names_outputs else (Column("total", "float32"), other)),
        )
        for signature in wrong:
            with pytest.raises(SignatureError):
                runtime.load(folder, signature)

    def test_broken_files_are_refused_at_load(self, runtime: Runtime, folder: Path, tmp_path: Path) -> None:
        """Each file truncated, empty, foreign or missing, the others whole: never a crash, never a model."""
        for path in (path for path in folder.rglob("*") if path.is_file()):
            content = path.read_bytes()
            half = content[: len(content) // 2] if self.shows_a_cut else b"("
            for number, broken in enumerate((half, b"", b"not a model at all", None)):
                copy = tmp_path / f"{number}-{path.name}"
                shutil.copytree(folder, copy)
                changed = copy / path.relative_to(folder)
                changed.unlink()
                if broken is not None:
                    changed.write_bytes(broken)
                with pytest.raises(HeadraceError):
                    runtime.load(copy, SUM)
        (tmp_path / "empty").mkdir()
        with pytest.raises(IntegrityError):
            runtime.load(tmp_path / "empty", SUM)


def _parted(rows: NDArray[np.float32], signature: Signature) -> dict[str, NDArray[np.float32]]:
    """Columns of rows as the tensors of a signature, in order."""
    parts, at = {}, 0
    for tensor in signature.tensors:
        width = tensor.shape[1] if len(tensor.shape) > 1 else 1
        parts[tensor.name] = rows[:, at : at + width].reshape(len(rows), *tensor.shape[1:])
        at += width
    return parts


def _extents(field: Column | Tensor) -> tuple[int, ...]:
    assert isinstance(field, Tensor)
    return field.shape
