import numpy as np
import polars as pl
import pytest
import served_functions

import headrace as hr
from headrace.assembly import open_platform
from headrace.errors import UsageError
from headrace.models.registry import Registration, register
from headrace.serving.tensors import decoder_of
from headrace.serving.versions import load_model
from headrace.settings import Settings


@pytest.fixture
def served(tmp_path):
    platform = open_platform(Settings(root=tmp_path))
    opened = []

    def served(artifact, example, **more):
        version = register(platform.stores(), artifact, Registration("judge", example, "CC0-1.0", **more))
        opened.append(load_model(platform.ledger(), platform.files(), platform.runtime, str(version)))
        return opened[-1]

    yield served
    for model in opened:
        model.loaded.close()
    platform.close()


def test_a_function_is_registered_and_served_like_other_models(served):
    rows = pl.DataFrame({"year": [2001, 2002], "grape": ["red", None], "alcohol": [12.5, 13.5]})
    artifact = hr.serve_function(served_functions.quality)
    assert (artifact.inputs, artifact.outputs) == (("alcohol", "grape", "year"), ("quality",))
    model = served(artifact, rows)
    numbers = np.array([[12.5, 2001], [13.5, 2002]], np.float32)
    strings = np.array([["red"], [""]], object)
    assert model.loaded.score({"numbers": numbers, "strings": strings})["quality"].tolist() == [113.5, 1015.5]


def test_numbers_are_told_as_they_were_sent(served):
    """An instant in seconds and a number of nine quadrillions: float32 knows neither."""
    artifact = hr.serve_function(served_functions.apart, outputs=("at_apart", "number_apart", "positive"))
    model = served(artifact, pl.DataFrame({"at": [0.5], "number": [1]}))
    rows = [{"at": 1_700_000_000.25, "number": 2**53 - 1}, {"at": 1_700_000_001.5, "number": 2**63 - 1}]
    found = model.loaded.score(decoder_of(model.signature).of_records(rows).batch)
    assert found["at_apart"].tolist() == [0.25, 1.5]
    assert found["number_apart"][0] == -1
    assert found["positive"].tolist() == [1, 1]


def test_tensors_and_several_outputs(served):
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    artifact = hr.serve_function(served_functions.halves, outputs=("half", "rest"))
    model = served(artifact, {"x": x}, answers={"half": x / 2, "rest": x / 2})
    assert model.compared == 2
    np.testing.assert_array_equal(model.loaded.score({"x": x})["rest"], x / 2)


def test_a_static_method_is_a_function(served):
    rows = pl.DataFrame({"a": [1.0], "b": [2.0]})
    model = served(hr.serve_function(served_functions.Judges.mean), rows)
    assert model.loaded.score({"numbers": np.array([[1, 2]], np.float32)})["mean"].tolist() == [1.5]


@pytest.mark.parametrize(
    ("named", "inputs", "due"),
    [
        ("tripled", ("a",), 6.0),
        ("doubled", ("a",), 4.0),
        ("beyond_ten", ("a",), -4.0),
        ("tripled.less", ("a", "b"), 5.0),
    ],
)
def test_what_can_be_called_and_has_a_name_in_a_module_is_a_function(served, named, inputs, due):
    function = served_functions
    for part in named.split("."):
        function = getattr(function, part)
    artifact = hr.serve_function(function)
    assert (artifact.inputs, artifact.outputs) == (inputs, (named.rpartition(".")[2],))
    model = served(artifact, pl.DataFrame({"a": [2.0], "b": [1.0]})[list(inputs)])
    numbers = np.array([[2.0, 1.0][: len(inputs)]], np.float32)
    assert model.loaded.score({"numbers": numbers})[artifact.outputs[0]].tolist() == [due]


def test_what_is_asynchronous_is_refused():
    with pytest.raises(UsageError, match="asynchronous"):
        hr.serve_function(served_functions.later)


@hr.step
def stepped(a):
    return a + 1


def test_a_step_is_its_function(served):
    model = served(hr.serve_function(stepped), pl.DataFrame({"a": [1.0]}))
    assert model.loaded.score({"numbers": np.array([[1]], np.float32)})["stepped"].tolist() == [2.0]


def _made_inside(a):
    return lambda b: a + b


@pytest.mark.parametrize("function", [lambda a: a, _made_inside(1), "text".join, print, np.sqrt, object(), object])
def test_what_has_no_name_in_a_module_is_refused(function):
    with pytest.raises(UsageError, match="top of a module"):
        hr.serve_function(function)


def _many(*rows):
    return rows


def _nothing():
    return 1


@pytest.mark.parametrize("function", [_many, _nothing])
def test_inputs_are_named(function):
    with pytest.raises(UsageError, match="one parameter for each input"):
        hr.serve_function(function)


def test_parameters_by_name_only_with_defaults_are_said_by_requests(served):
    artifact = hr.serve_function(served_functions.powered)
    assert artifact.inputs == ("a",)
    model = served(artifact, pl.DataFrame({"a": [3.0]}))
    assert {p.name: (p.kind, p.many, p.default) for p in model.signature.params} == {
        "power": ("int64", False, 2),
        "by": ("float64", True, [0.5, 0.25]),
        "name": ("string", False, ""),
        "up": ("bool", False, True),
    }
    batch = {"numbers": np.array([[3.0]], np.float32)}
    for said, due in (({}, 9.75), ({"power": 3, "by": []}, 27.0), ({"name": "ann", "up": False}, -12.75)):
        told = model.loaded.tuned(said) if said else model.loaded
        assert told.score(batch)["powered"].tolist() == [due]
    fixed = hr.serve_function(served_functions.squared)  # what its author has said, nobody says again
    assert [param.name for param in fixed.params] == ["by", "name", "up"]


@pytest.mark.parametrize("function", [served_functions.untyped, served_functions.mixed])
def test_a_default_that_shows_no_type_is_refused(function):
    with pytest.raises(UsageError, match="shows no type"):
        hr.serve_function(function)
