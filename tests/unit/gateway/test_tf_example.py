"""Serialised examples are what a library of messages makes of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import SignatureError
from headrace.gateway.rpc.tfs_messages import SERVING
from headrace.gateway.tf_example import serialised

LISTS = {
    "bytes_list": st.text(),
    "float_list": st.floats(width=32, allow_nan=False),
    "int64_list": st.integers(-(2**63), 2**63 - 1),
}
FEATURES = st.dictionaries(
    st.text(max_size=200),
    st.sampled_from(sorted(LISTS)).flatmap(
        lambda kind: st.lists(LISTS[kind], min_size=1, max_size=200).map(lambda values: (kind, values))
    ),
    max_size=5,
)


@given(FEATURES)
def test_it_reads_back_as_what_was_given(features):
    found = SERVING.Example.FromString(serialised({name: values for name, (_, values) in features.items()}))
    read = found.features.feature
    assert set(read) == set(features)
    for name, (kind, values) in features.items():
        due = [value.encode() for value in values] if kind == "bytes_list" else values
        assert list(getattr(read[name], kind).value) == due


def test_a_value_alone_is_a_list_of_one_and_none_is_an_empty_feature():
    read = SERVING.Example.FromString(serialised({"a": {"b64": "/w=="}, "b": []})).features.feature
    assert list(read["a"].bytes_list.value) == [b"\xff"]
    assert read["b"].ByteSize() == 0


@pytest.mark.parametrize("value", [None, True, [1.0, 1], [[1.0]], {"b64": 1}, {"x": "y"}, 2**63, 1e39])
def test_what_is_no_feature_is_refused_by_name(value):
    with pytest.raises(SignatureError, match="feature 'x'"):
        serialised({"x": value})
