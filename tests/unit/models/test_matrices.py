import numpy as np
import pytest

from headrace.models.matrices import answered, other_columns, spaced


@pytest.mark.parametrize(
    ("values", "dtype", "due"),
    [
        ([123_456_789.12], "float64", np.float64),
        ([1.5], "float32", np.float32),
        ([3], "int64", np.int64),
        ([1.5], "int64", np.float32),  # what the model says is not cut off
        ([True], "bool", np.float32),
    ],
)
def test_answers_are_as_wide_as_the_signature_says(values, dtype, due):
    found = answered(values, dtype)
    assert found.dtype == due
    assert found.tolist() == values


def test_underscores_stand_for_spaces_where_no_name_is_equal():
    given = ["fixed acidity", "a b", "a_b"]
    assert spaced(["fixed_acidity", "a_b", "other_name"], given) == ["fixed acidity", "a_b", "other_name"]


def test_columns_of_one_side_are_told_apart():
    said = str(other_columns(["ph", "ash"], ["ph", "sugar"]))
    assert "only the model has ash, only the signature sugar" in said
    assert "only the model has none, only the signature sugar" in str(other_columns(["ph"], ["ph", "sugar"]))
