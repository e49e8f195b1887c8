import pytest
from onnx import AttributeProto, TensorProto

from headrace.models.protobuf import EIGHT_BYTES, FOUR_BYTES, LENGTH, NUMBER, fields


def _seen(content, **how):
    return [(f.number, f.kind, f.value or content[f.begin : f.end]) for f in fields(content, **how)]


def test_every_kind_of_field_is_read():
    content = b"\x08\x96\x01\x12\x02ab\x1d1234\x2112345678\xa2\x01\x00"
    due = [(1, NUMBER, 150), (2, LENGTH, b"ab"), (3, FOUR_BYTES, b"1234"), (4, EIGHT_BYTES, b"12345678")]
    assert _seen(content) == [*due, (20, LENGTH, b"")]


def test_a_part_of_a_file_is_read_alone():
    assert _seen(b"\xff\x08\x01\xff", begin=1, end=3) == [(1, NUMBER, 1)]


def test_numbers_in_other_lengths_than_needed_are_read():
    assert _seen(b"\x88\x80\x00\x81\x80\x80\x00") == [(1, NUMBER, 1)]


def test_in_brief_long_lists_of_numbers_are_passed_over_and_field_14_is_not():
    attribute = AttributeProto(name="values", floats=[0.5] * 3, ints=[-1, 2, 1 << 40]).SerializeToString()
    assert _seen(attribute, brief=True) == [(1, LENGTH, b"values")]
    tensor = TensorProto(data_type=1, dims=[1], data_location=TensorProto.EXTERNAL).SerializeToString()
    assert _seen(tensor, brief=True) == [(14, NUMBER, 1)]


@pytest.mark.parametrize(
    "content",
    [
        b"\x08",  # a number that is missing
        b"\x08\x80",  # one that is cut off
        b"\x08" + b"\xff" * 11,  # one without end
        b"\x12\x05abcd",  # a length beyond the end
        b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # a length that wraps around
        b"\x1d123",
        b"\x211234567",
        b"\x0b\x0c",  # a group
        b"\x0f",  # no kind
        b"\x02\x00",  # field 0
        b"\xba\x80\x80\x80\x10\x00",  # a tag that is field 7 to readers that drop what is above 32 bits
    ],
)
@pytest.mark.parametrize("brief", [False, True])
def test_what_is_no_message_is_told(content, brief):
    with pytest.raises(ValueError, match="byte"):
        list(fields(content, brief=brief))
