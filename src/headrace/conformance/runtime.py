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
from headrace.models.runtime import Runtime
from headrace.models.signature import Column, Signature

SUM = Signature("table", (Column("a", "float64"), Column("b", "float64", nullable=True)), (Column("total", "float32"),))
"""The signature of the model under test: ``total`` = a + 2 b, one float32 a row."""

Due = Callable[[NDArray[np.float32]], NDArray[Any]]
"""Rows to what the model under test answers."""

_ROWS = np.array([[1.0, 2.0], [3.0, -4.0], [0.5, 0.25]], dtype=np.float32)


class RuntimeSuite:
    """Cases for the port ``models.runtime.Runtime``.

    Attributes:
        names_outputs: Whether the format itself says what outputs are called.
    """

    names_outputs = True

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

    def test_a_batch_is_scored_row_by_row(self, runtime: Runtime, folder: Path, due: Due) -> None:
        """One value a row, by name, whatever the number of rows."""
        model = runtime.load(folder, SUM)
        for count in (1, 2, 3):
            total = model.score({"numbers": _ROWS[:count]})["total"]
            assert total.shape == (count,)
            np.testing.assert_allclose(total, due(_ROWS[:count]), rtol=1e-6)
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
            for number, broken in enumerate((content[: len(content) // 2], b"", b"not a model at all", None)):
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
