"""Every use of a handle as a value says what to do instead."""

import copy
import math
import operator
import pickle

import pytest

from headrace.errors import HandleError
from headrace.sdk.handles import Handle

MISUSES = [
    ("take len() of", len),
    ("iterate over", iter),
    ("iterate over", list),
    ("iterate over", lambda h: [*h]),
    ("test the truth of", bool),
    ("test the truth of", lambda h: 1 if h else 2),
    ("test the truth of", lambda h: not h),
    ("look for something in", lambda h: 1 in h),
    ("index", lambda h: h[0]),
    ("index", lambda h: h["a"]),
    ("index", lambda h: operator.setitem(h, 0, 1)),
    ("call", lambda h: h()),
    ("compare", lambda h: h > 1),
    ("compare", lambda h: h <= 1),
    ("compare", lambda h: h == 1),
    ("compare", lambda h: h != 1),
    ("compare", lambda h: h > 1),
    ("compute with", lambda h: h + 1),
    ("compute with", lambda h: 1 + h),
    ("compute with", lambda h: h * 2.5),
    ("compute with", lambda h: 1 / h),
    ("compute with", lambda h: -h),
    ("compute with", abs),
    ("compute with", lambda h: h @ h),
    ("compute with", lambda h: h | 1),
    ("compute with", lambda h: divmod(h, 2)),
    ("convert", int),
    ("convert", float),
    ("convert", round),
    ("convert", lambda h: [1, 2][h]),
    ("convert", math.sqrt),
    ("format", str),
    ("format", lambda h: f"{h}"),
    ("format", lambda h: f"{h:.2f}"),
    ("format", "{:>10}".format),
    ("read .auc of", lambda h: h.auc),
    ("read .shape of", lambda h: h.shape[0]),
    ("hash", lambda h: {h: 1}),
    ("hash", lambda h: {h}),
]


@pytest.mark.parametrize(("action", "use"), MISUSES, ids=[f"{i}-{a}" for i, (a, _) in enumerate(MISUSES)])
def test_misuse_says_what_to_do(action, use):
    with pytest.raises(HandleError) as raised:
        use(Handle(0, "features"))
    text = str(raised.value)
    assert text.startswith(f"cannot {action} the output of step 'features' - fix: move that line into a @hr.step")
    assert "test_handles.py:" in text
    assert raised.value.exit_code == 2


def test_arrays_refuse_it_too():
    np = pytest.importorskip("numpy")
    with pytest.raises(HandleError, match="convert"):
        np.asarray(Handle(0, "features"))


def test_attributes_cannot_be_set():
    with pytest.raises(AttributeError):
        Handle(0, "features").auc = 1


def test_protocols_see_that_there_are_none():
    """Nothing that Python or a debugger asks of any object fails."""
    handle = Handle(3, "features", part=1)
    assert repr(handle) == "<output of step 'features', value 1, not computed yet>"
    assert not isinstance(handle, dict)
    assert not hasattr(handle, "__dataclass_fields__")
    assert callable(handle)
    assert dir(handle)
    for duplicate in (copy.copy(handle), pickle.loads(pickle.dumps(handle))):
        assert repr(duplicate) == repr(handle)


def test_a_tuple_unpacks():
    first, second = Handle(3, "split", parts=2)
    assert [repr(first), repr(second)] == [f"<output of step 'split', value {i}, not computed yet>" for i in range(2)]
    with pytest.raises(HandleError, match="iterate over"):
        iter(first)
    with pytest.raises(ValueError, match="not enough values"):
        _a, _b, _c = Handle(3, "split", parts=2)
