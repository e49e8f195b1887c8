import pytest

from headrace.settings import is_number


@pytest.mark.parametrize(("value", "is_one"), [(1, True), (0.5, True), (True, False), ("1", False), ([1], False)])
def test_true_and_text_are_no_numbers(value, is_one):
    assert is_number(value) == is_one
