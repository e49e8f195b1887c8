from dataclasses import replace

import numpy as np
import pytest
from served import WINE, constant, model
from wine_project import ROW

from headrace.errors import HeadraceError, IntegrityError, NotFound, ParityFailed, RunFailed, SignatureError
from headrace.models.params import Param
from headrace.serving.request import TableDecoder
from headrace.serving.versions import compare, load_model, warm_up


def load(project, reference):
    platform = project.platform
    return load_model(platform.ledger(), platform.files(), platform.runtime, reference)


def test_a_registered_version_is_loaded_proven_and_found_fast(project):
    version = project.register(0.5)
    found = load(project, str(version))
    assert found.version == version
    assert found.compared == 2
    assert found.fast
    assert found.shapes == {"quality": ()}
    batch = TableDecoder(version.signature).of_records([ROW]).batch
    np.testing.assert_allclose(found.loaded.score(batch)["quality"], [project.answer(0.5)], rtol=1e-6)


def test_a_version_that_answers_other_than_recorded_is_refused_naming_the_rows(project):
    version = project.register(0.5, claimed=1.0)
    with pytest.raises(ParityFailed, match=r"rows 0, 1 of examples\.json.*differs by 1, allowed is 0\.001"):
        load(project, str(version))


def test_a_file_that_was_cut_off_is_refused(project):
    version = project.register(0.5)
    path = project.model_file(version)
    path.chmod(0o600)
    good = path.read_bytes()
    path.write_bytes(good[:-1])
    with pytest.raises(IntegrityError):
        load(project, str(version))
    path.write_bytes(good)
    load(project, str(version))


def test_a_version_that_does_not_exist(project):
    with pytest.raises(NotFound):
        load(project, "wine@1")


EXAMPLES = {"columns": {"alcohol": [1.0], "grape": ["x"], "year": [1], "ph": [None], "organic": [True]}, "outputs": {}}


@pytest.mark.parametrize(
    "function", [constant(np.nan), lambda b: {"quality": np.zeros(9)}, lambda b: {"other": np.zeros(1)}]
)
def test_a_version_that_does_not_score_its_own_rows_is_refused(function):
    with pytest.raises(RunFailed, match="does not score its recorded rows"):
        compare("wine@1", model("wine@1", function).loaded, model("wine@1", function).version, EXAMPLES)


def test_params_of_a_model_that_takes_none_are_refused():
    found = model("wine@1", constant(1.0), signature=replace(WINE, params=(Param("factor", "float64", 1.0),)))
    with pytest.raises(SignatureError, match="wine@1 has params - a model of format python takes none"):
        compare("wine@1", found.loaded, found.version, EXAMPLES)


def test_examples_without_answers_warm_up_only():
    found = model("wine@1", constant(1.0))
    assert compare("wine@1", found.loaded, found.version, EXAMPLES) == 0


def test_a_slow_model_is_found_slow():
    import time

    slow = model("wine@1", lambda batch: time.sleep(0.0005))
    assert warm_up(slow.loaded, {}) >= 0.0005


def test_every_failure_is_one_of_ours(project):
    version = project.register(0.5)
    path = project.model_file(version)
    path.unlink()
    with pytest.raises(HeadraceError):
        load(project, str(version))
