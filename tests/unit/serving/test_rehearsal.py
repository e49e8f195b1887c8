"""Models are tried in workers that try many; what one does to its worker is held against that model alone."""

import threading
from contextlib import closing

import numpy as np
import pytest
import worker_models
from wine_project import until

from headrace.conformance.runtime import SUM
from headrace.errors import IntegrityError, RunFailed, SignatureError
from headrace.serving.rehearsal import Rehearsal
from headrace.serving.worker_process import Limits

ROW = np.array([[1.0, 2.0]], np.float32)
LIMITS = Limits(memory_bytes=512 << 20, call_s=1.0)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model.txt").write_text("2")
    return tmp_path


def _rehearsal(loader="adds", **more):
    return Rehearsal("test", f"worker_models:{loader}", LIMITS, "worker_models:declares", **more)


def _scored(model):
    return model.score({"numbers": ROW})["total"].tolist()


def test_one_worker_tries_one_model_after_another_and_looks_at_what_they_declare(folder):
    rehearsal, workers = _rehearsal(), set()
    for weight, due in (("2", [5.0]), ("3", [7.0])):
        (folder / "model.txt").write_text(weight)
        with closing(rehearsal.load(folder, SUM)) as model:
            assert _scored(model) == due
        assert rehearsal.declared(folder).inputs[0].name == weight
        workers |= set(rehearsal.spares)
    assert len(workers) == 1
    rehearsal.close()


def test_models_that_are_tried_side_by_side_have_a_worker_each(folder):
    rehearsal = _rehearsal()
    with closing(rehearsal.load(folder, SUM)) as one, closing(rehearsal.load(folder, SUM)) as other:
        assert _scored(one) == _scored(other) == [5.0]
    assert len(set(rehearsal.spares)) == 2
    rehearsal.close()


@pytest.mark.parametrize(
    ("loader", "error"), [("refuses", SignatureError), ("breaks", IntegrityError), ("crashes", RunFailed)]
)
def test_a_model_that_cannot_be_loaded_is_refused_and_the_next_one_is_tried(folder, loader, error):
    rehearsal = _rehearsal(loader)
    for _ in range(2):
        with pytest.raises(error):
            rehearsal.load(folder, SUM)
    assert len(rehearsal.spares) == (error is not RunFailed)
    rehearsal.close()


@pytest.mark.parametrize("loader", ["loads_once", "scores_once"])
def test_a_model_that_a_used_worker_dies_of_is_tried_in_a_fresh_one(folder, loader):
    rehearsal = _rehearsal(loader)
    for _ in range(3):
        with closing(rehearsal.load(folder, SUM)) as model:
            assert _scored(model) == [5.0]
    rehearsal.close()


@pytest.mark.parametrize("how", [worker_models.SEGFAULT, worker_models.MEMORY, worker_models.HANG, worker_models.LIE])
def test_a_model_that_a_fresh_worker_dies_of_is_refused_too(folder, how):
    rehearsal = _rehearsal()
    rehearsal.load(folder, SUM).close()  # the worker is a used one
    with closing(rehearsal.load(folder, SUM)) as model, pytest.raises(RunFailed, match="worker died"):
        model.score({"numbers": np.array([[how, 0]], np.float32)})
    with closing(rehearsal.load(folder, SUM)) as model:
        assert _scored(model) == [5.0]
    rehearsal.close()


def test_a_model_that_raises_costs_no_worker(folder):
    rehearsal = _rehearsal()
    with closing(rehearsal.load(folder, SUM)) as model, pytest.raises(RunFailed, match="not today"):
        model.score({"numbers": np.array([[worker_models.RAISE, 0]], np.float32)})
    assert len(rehearsal.spares) == 1
    rehearsal.close()


def test_workers_that_no_model_comes_for_end(folder):
    rehearsal = _rehearsal(idle_s=0.05)
    for _ in range(2):
        threads = [threading.Thread(target=rehearsal.load(folder, SUM).close) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        until(lambda: not rehearsal.spares)
