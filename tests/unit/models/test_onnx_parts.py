import time

import onnx
import pytest
from served import onnx_linear

from headrace.errors import Refused
from headrace.models import onnx_parts
from headrace.models.formats import sniffed

LOCATION = b"../../secret"


def _number(value):
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _held(number, content):
    return _number(number << 3 | 2) + _number(len(content)) + content


# A tensor's entry that names a file, as one writer or another may put it.
ENTRIES = {
    "usual": _held(1, b"location") + _held(2, LOCATION),
    "value first": _held(2, LOCATION) + _held(1, b"location"),
    "name twice": _held(1, b"checksum") + _held(2, LOCATION) + _held(1, b"location"),
    "long length": b"\x0a\x88\x80\x00location" + _held(2, LOCATION),
    "long tag": b"\x8a\x80\x00\x08location" + _held(2, LOCATION),
    "unknown field between": _held(1, b"location") + b"\x78\x01" + _held(2, LOCATION),
    "in memory": _held(2, b"*/_ORT_MEM_ADDR_/*") + _held(1, b"location"),
}
# Where a tensor may be, from the model inwards: the numbers of the fields.
PLACES = {
    "initializer": (7, 5),
    "sparse values": (7, 15, 1),
    "sparse indices": (7, 15, 2),
    "attribute": (7, 1, 5, 5),
    "attribute, a list": (7, 1, 5, 10),
    "attribute, sparse": (7, 1, 5, 22, 1),
    "attribute, a list of sparse": (7, 1, 5, 23, 2),
    "subgraph": (7, 1, 5, 6, 5),
    "a list of subgraphs": (7, 1, 5, 11, 5),
    "ten subgraphs deep": (7, *(1, 5, 6) * 10, 5),
    "function": (25, 7, 5, 5),
    "function's default": (25, 11, 5),
    "training, initialization": (20, 1, 5),
    "training, algorithm": (20, 2, 1, 5, 6, 5),
}


def _model(place, tensor):
    for number in reversed(place):
        tensor = _held(number, tensor)
    return onnx_linear([1, 2]) + tensor


def _named_files(message):
    """Every file that a message of ONNX's names, as ONNX's own reader sees it."""
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if field.is_repeated else [value]:
                yield from _named_files(part)
                if field.name == "external_data" and part.key == "location":
                    yield part.value.encode()


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("place", PLACES)
def test_a_tensor_that_names_a_file_is_found_wherever_and_however_it_is_written(place, entry):
    content = _model(PLACES[place], _held(8, b"w") + _held(13, ENTRIES[entry]) + b"\x70\x01")
    assert set(_named_files(onnx.ModelProto.FromString(content))) & {LOCATION, b"*/_ORT_MEM_ADDR_/*"}
    with pytest.raises(Refused, match=r"weights in other files - .* - fix: save it as one file"):
        sniffed(content)


@pytest.mark.parametrize("tensor", [b"\x70\x01", b"\xf0\x00\x01", _held(13, b""), _held(8, b"w") + b"\x70\x81\x00"])
def test_half_an_entry_is_enough(tensor):
    with pytest.raises(Refused, match="weights in other files"):
        sniffed(_model((7, 5), tensor))


def test_a_graph_in_two_parts_is_looked_at_in_both():
    content = onnx_linear([1, 2]) + _held(7, _held(5, b"\x70\x01"))
    with pytest.raises(Refused, match="weights in other files"):
        sniffed(content)


def test_what_only_looks_like_an_entry_is_served():
    about = onnx.ModelProto.FromString(onnx_linear([1, 2]))
    about.doc_string = ENTRIES["usual"].decode()
    about.graph.initializer[0].doc_string = "external_data location"
    about.graph.initializer[0].data_location = onnx.TensorProto.DEFAULT
    assert sniffed(about.SerializeToString()) == "onnx"


@pytest.mark.parametrize("cut", [3, 20, 60, -1])
def test_a_file_that_is_cut_off_is_told(cut):
    with pytest.raises(Refused, match="cut off or damaged"):
        sniffed(onnx_linear([1, 2])[:cut])


def test_what_is_nested_beyond_belief_is_refused():
    with pytest.raises(Refused, match="nested or divided beyond belief"):
        sniffed(_model((7, *(1, 5, 6) * 40), b""))


def test_what_is_divided_beyond_belief_is_refused(monkeypatch):
    monkeypatch.setattr(onnx_parts, "_MOST_FIELDS", 1000)
    with pytest.raises(Refused, match="nested or divided beyond belief"):
        sniffed(_model((7,), _held(1, b"") * 1000))


def test_a_large_forest_is_read_at_the_speed_of_its_bytes():
    """One field a number is how ONNX keeps trees: a million of them are no reason to wait."""
    trees = onnx.AttributeProto(name="nodes_values", floats=[0.5] * 1_000_000)
    trees.ints.extend(range(100_000))
    begun = time.thread_time()
    onnx_parts.check_whole(_model((7, 1), _held(5, trees.SerializeToString())))
    assert time.thread_time() - begun < 0.5


def test_every_way_to_a_tensor_is_known():
    """The table is what ONNX's own description says, of the parts from which a tensor can be reached."""
    known, waiting = {}, [onnx.ModelProto.DESCRIPTOR]
    while waiting:
        message = waiting.pop()
        if message.name not in known:
            held = {f.number: f.message_type for f in message.fields if f.message_type is not None}
            known[message.name] = {number: part.name for number, part in held.items()}
            waiting += held.values()
    reaching = {"TensorProto"}
    while more := {name for name, held in known.items() if reaching & set(held.values())} - reaching:
        reaching |= more
    due = {name: {n: part for n, part in known[name].items() if part in reaching} for name in reaching}
    assert due == onnx_parts._PARTS
