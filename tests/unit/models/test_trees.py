import pytest

from headrace.errors import IntegrityError
from headrace.models.trees import check_children, check_within


def test_a_tree_is_one():
    check_children([1, 2, 4, 3], 5)
    check_children([], 1)
    check_within("leaf", [0, 1], 0, 2)


@pytest.mark.parametrize(
    ("children", "said"), [([0], "child 0"), ([1, 1], "child of two"), ([5], "child 5"), ([-1], "child -1")]
)
def test_what_is_none_is_told(children, said):
    with pytest.raises(IntegrityError, match=said):
        check_children(children, 5)
