"""How a LiteRT model lies in its file: the tables of the format, field by field, without those that no model needs.

A field reads ``name:kind``. Kinds are numbers of so many bytes (``i`` with a sign), ``text``, tables, and vectors of
these in brackets; ``-`` may not be there. Left out are weights in other files, sparse tensors and options that are kept
as another format within this one.
"""

from collections.abc import Mapping

Layout = tuple[tuple[str, str], ...]
"""Name and kind of each field, by its slot."""

OPTIONS = "options"
"""Kind of a field that is the options of an operator, laid out as the field before it says."""

_TABLES = {
    "Model": """
        version:4 operator_codes:[OperatorCode] subgraphs:[Subgraph] description:text buffers:[Buffer]
        metadata_buffer:[i4] metadata:[Metadata] signatures:[Signature]""",
    "OperatorCode": "old_code:i1 custom_code:text version:i4 code:i4",
    "Subgraph": "tensors:[Tensor] inputs:[i4] outputs:[i4] operators:[Operator] name:text debug:i4",
    "Tensor": """
        shape:[i4] type:i1 buffer:4 name:text quantization:Quantization is_variable:1 - extents:[i4] has_rank:1""",
    "Quantization": "min:[4] max:[4] scale:[4] zero_point:[8] details_type:1 - dimension:i4",
    "Operator": """
        code:4 inputs:[i4] outputs:[i4] kind:1 options:options custom:[1] custom_format:i1 mutating:[1]
        intermediates:[i4] - - - - debug:i4""",
    "Buffer": "data:[1]",
    "Metadata": "name:text buffer:4",
    "Signature": "inputs:[Named] outputs:[Named] key:text - subgraph:4",
    "Named": "name:text tensor:4",
}

_OPTIONS = {
    "1 4 4 1 4 4 1": "1",
    "1 4 4 4 1 4 4": "2",
    "4 [4] [4]": "3",
    "1": "4 12 20 21 27 29 40 50 55 57 77 80 116",
    "1 4 4 4 4 1": "5",
    "4 1 1": "6 107",
    "1 1": "7 11 28 37 74 102",
    "1 1 1 1 1 [1]": "8",
    "4": "9 16 19 35 61 75 79 94 103",
    "4 1": "10",
    "4 4 4 4": "13",
    "1 4 4 1 1": "14 49",
    "- - 1 1": "15",
    "[4]": "17 30 115",
    "4 4 1": "18",
    "4 4": "23 59 64 87 92 93",
    "1 1 1": "31 101",
    "4 4 4 4 4 1": "32",
    "4 4 4 1": "58",
    "1 4 4 1 1 1": "69 71",
    "1 1 1 1": "70",
    "1 4 4 4 1 4 4 4": "106",
    "text text": "111",
    "8 8": "114",
}
"""Fields of options, by the numbers that operators give for them; the others up to the last have none."""

_LAST_OPTIONS = 126


def _layouts() -> dict[str, Layout]:
    made = {name: tuple(_field(field) for field in text.split()) for name, text in _TABLES.items()}
    made |= {f"{OPTIONS} {number}": () for number in range(1, _LAST_OPTIONS + 1)}
    for kinds, numbers in _OPTIONS.items():
        made |= {f"{OPTIONS} {number}": tuple(("", kind) for kind in kinds.split()) for number in numbers.split()}
    return made


def _field(text: str) -> tuple[str, str]:
    name, _, kind = text.rpartition(":")
    return name, kind


LAYOUTS: Mapping[str, Layout] = _layouts()
"""Every table that a model may hold, by name."""
