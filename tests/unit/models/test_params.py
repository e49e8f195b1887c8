import json

import pytest

from headrace.errors import SignatureError
from headrace.models.params import Param, checked_params, kind_of
from headrace.models.signature import Column, Signature

FACTOR = Param("factor", "float64", 1)
NAMES = Param("names", "string", ("a",), many=True)


@pytest.mark.parametrize(
    ("kind", "default", "right", "wrong"),
    [
        ("bool", True, [False], [0, "true", None]),
        ("int32", 0, [-(2**31), 7], [2**31, 1.0, True, "1"]),
        ("int64", 0, [2**40], [2**63, 1.5, False]),
        ("float32", 0.5, [1.5, 2], ["1.5", True, float("nan"), float("inf"), 10**400]),
        ("float64", 0.5, [1e300], [[1.0], {}]),
        ("string", "", ["ä"], [1, ["a"], b"a"]),
        (
            "datetime",
            "2026-01-01",
            ["2026-05-01T10:00", "2026-05"],
            ["soon", 5, "NaT", "2026-01-01T00:00:00.000000001"],
        ),
        ("object", {}, [{"a": [1]}], [[], "{}", None]),
    ],
)
def test_values_of_a_type_and_others(kind, default, right, wrong):
    param = Param("p", kind, default)
    assert [param.checked(value) for value in right] == right
    for value in wrong:
        with pytest.raises(SignatureError, match=r"param 'p' is refused.*is due, it is"):
            param.checked(value)


def test_an_object_is_not_nested_without_end():
    nested = value = {}
    for _ in range(30):
        value["a"] = value = {}
    param = Param("p", "object", {"a": [[{"b": 1}]]})
    assert param.checked(nested) is nested
    value["a"] = [[1]]
    with pytest.raises(SignatureError, match="an object of at most 32 levels is due"):
        param.checked(nested)


def test_whole_numbers_become_floats_where_these_are_due():
    assert type(FACTOR.checked(2)) is float
    assert type(FACTOR.default) is float
    assert [type(v) for v in Param("p", "float32", [0.0], many=True).checked([1, 2.0])] == [float, float]


def test_a_list_is_one_of_values_of_the_type():
    assert NAMES.checked([]) == []
    for wrong in ("a", ["a", 1], None, {"a": 1}):
        with pytest.raises(SignatureError, match="a list, each text, is due"):
            NAMES.checked(wrong)


def test_null_is_legal_where_it_is_said_to_be():
    param = Param("p", "int64", None, nullable=True)
    assert (param.default, param.checked(None)) == (None, None)
    assert Param("p", "int64", [None, 1], many=True, nullable=True).checked([None]) == [None]
    with pytest.raises(SignatureError, match="a whole number is due"):
        Param("p", "int64", None)


def test_a_type_that_is_none_is_refused():
    with pytest.raises(SignatureError, match="one of bool, int32"):
        Param("p", "complex", 1)


def test_what_a_model_does_not_declare_is_refused_with_what_it_does():
    with pytest.raises(
        SignatureError, match=r"'fator' is not one of this model - it takes factor: float64 = 1\.0, names"
    ):
        checked_params((FACTOR, NAMES), {"fator": 2.0})
    with pytest.raises(SignatureError, match="it declares none"):
        checked_params((), {"factor": 2.0})
    assert checked_params((FACTOR, NAMES), {"factor": 3}) == {"factor": 3.0}  # what is not said stays unsaid


def test_they_are_part_of_a_signature_and_of_what_is_kept_of_it():
    columns = (Column("a", "float64"),)
    bare = Signature("table", columns, columns)
    said = Signature("table", columns, columns, params=(FACTOR, NAMES, Param("p", "int64", None, nullable=True)))
    assert Signature.from_json(json.loads(json.dumps(said.to_json()))) == said
    assert hash(said) != hash(bare)
    assert "params" not in bare.to_json()


def test_python_values_show_types():
    assert [kind_of(v) for v in (True, 1, 1.5, "a", None, [1])] == ["bool", "int64", "float64", "string", None, None]
