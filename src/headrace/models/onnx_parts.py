"""What an ONNX file is made of, as far as it says where values are: in the file, or in another one that it names.

ONNX keeps long tensors in other files when it is told to. Which file is an entry of the tensor, in any order and any
encoding, and tensors stand in many places: every one of them is looked at.
"""

from collections.abc import Mapping

from headrace.errors import Refused
from headrace.models.protobuf import LENGTH, NUMBER, fields

_MOST_DEPTH = 100  # as many messages within messages as readers of protocol buffers take
_MOST_FIELDS = 10_000_000
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
# Message: the fields in which tensors may be, with the message that each holds.
_PARTS: Mapping[str, Mapping[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        10: "TensorProto",
        6: "GraphProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}


def check_whole(content: bytes) -> None:
    """See that an ONNX file can be read to its end and that every value of it is in it.

    Raises:
        Refused: A tensor names another file; it is cut off or damaged; it is nested or divided beyond belief.
    """
    try:
        _walk(content)
    except ValueError as error:
        raise Refused("the ONNX model is cut off or damaged", why=str(error), fix="save or copy it again") from error


def _walk(content: bytes) -> None:
    waiting = [("ModelProto", 0, len(content), 1)]
    left = _MOST_FIELDS
    while waiting:
        message, begin, end, depth = waiting.pop()
        parts = _PARTS[message]
        for field in fields(content, begin, end, brief=True):
            left -= 1
            if depth > _MOST_DEPTH or not left:
                why = f"at most {_MOST_DEPTH} levels and {_MOST_FIELDS:,} parts are read"
                raise Refused("the ONNX model is nested or divided beyond belief", why=why)
            if message == "TensorProto":
                _check_place(field.number, inside=field.kind == NUMBER and not field.value)
            elif field.kind == LENGTH and field.number in parts:
                waiting.append((parts[field.number], field.begin, field.end, depth + 1))


def _check_place(number: int, *, inside: bool) -> None:
    """Refuse a field of a tensor that says that its values are elsewhere."""
    if number == _EXTERNAL_DATA or (number == _DATA_LOCATION and not inside):
        raise Refused(
            "the ONNX model keeps its weights in other files",
            why="a file that a model names could be any file of this machine",
            fix="save it as one file: onnx.save_model(onnx.load(PATH), PATH, save_as_external_data=False)",
        )
