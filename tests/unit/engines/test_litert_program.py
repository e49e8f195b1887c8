"""Hostile LiteRT models are found by reading them; LiteRT is not even installed here."""

import random
import struct

import flatbuffers
import pytest

from headrace.engines.litert.layout import LAYOUTS, OPTIONS
from headrace.engines.litert.program import entry, read
from headrace.errors import HeadraceError, IntegrityError, Refused, SignatureError
from headrace.models.formats import sniffed
from headrace.models.signature import Signature, Tensor

NUMBERS = {"1": "Uint8", "4": "Uint32", "8": "Uint64", "i1": "Int8", "i4": "Int32"}


def written(model, *, mark=b"TFL3", more=()):
    """A file as the format's own library writes it.

    ``more`` are fields that the format does not know: the table, a slot, a kind, and a value.
    """
    builder = flatbuffers.Builder()
    builder.Finish(_table(builder, "Model", model, more), mark)
    return bytes(builder.Output())


def _table(builder, kind, value, more):
    extra = [(slot, what, number) for name, slot, what, number in more if name == kind]
    fields = [(slot, what, value[name]) for slot, (name, what) in enumerate(LAYOUTS[kind]) if name in value] + extra
    whats = [f"{OPTIONS} {value['kind']}" if what == OPTIONS else what for _, what, _ in fields]
    ready = [_ready(builder, what, found, more) for what, (_, _, found) in zip(whats, fields, strict=True)]
    builder.StartObject(max([slot + 1 for slot, _, _ in fields], default=0))
    for what, (slot, _, _), found in zip(whats, fields, ready, strict=True):
        if what in NUMBERS:
            getattr(builder, f"Prepend{NUMBERS[what]}Slot")(slot, found, None)
        else:
            builder.PrependUOffsetTRelativeSlot(slot, found, 0)
    return builder.EndObject()


def _ready(builder, what, found, more):
    if what in NUMBERS:
        return found
    if what == "text":
        return builder.CreateString(found)
    if not what.startswith("["):
        return _table(builder, what, found, more)
    item = what[1:-1]
    if item in NUMBERS:
        made = [getattr(builder, f"Prepend{NUMBERS[item]}")] * len(found)
        size, parts = struct.calcsize({"1": "B", "4": "I", "8": "Q", "i4": "i"}[item]), found
    else:
        made, size, parts = (
            [builder.PrependUOffsetTRelative] * len(found),
            4,
            [_ready(builder, item, f, more) for f in found],
        )
    builder.StartVector(size, len(parts), size)
    for put, part in zip(reversed(made), reversed(parts), strict=True):
        put(part)
    return builder.EndVector()


def summed(**changes):
    """y = x times weights, as a converter writes it."""
    tensors = [
        {"shape": [1, 2], "extents": [-1, 2], "name": "x", "buffer": 0},
        {"shape": [1, 2], "name": "weights", "buffer": 1, "quantization": {"scale": b"\0" * 4}},
        {"shape": [1, 1], "extents": [-1, 1], "name": "y", "buffer": 0},
    ]
    operator = {"code": 0, "inputs": [0, 1, -1], "outputs": [2], "kind": 8, "options": {}}
    graph = {"tensors": tensors, "inputs": [0], "outputs": [2], "operators": [operator], "name": "main"}
    buffers = [{}, {"data": struct.pack("<2f", 1, 2)}]
    return {
        "version": 3,
        "operator_codes": [{"old_code": 9, "code": 9}],
        "subgraphs": [graph],
        "buffers": buffers,
    } | changes


def signed(*keys):
    named = [
        {"inputs": [{"name": "a", "tensor": 0}], "outputs": [{"name": "b", "tensor": 2}], "key": key} for key in keys
    ]
    return summed(signatures=named)


DUE = Signature("tensor", (Tensor("x", "float32", (-1, 2)),), (Tensor("y", "float32", (-1, 1)),))


def test_a_model_says_what_it_takes_and_gives():
    content = written(summed())
    assert sniffed(content) == "litert"
    assert entry(read(content)).signature == DUE
    with pytest.raises(SignatureError, match="no signature 'other'"):
        entry(read(content), "other")


@pytest.mark.parametrize(
    ("keys", "asked", "due"),
    [(["only"], "", "only"), (["a", "serving_default"], "", ""), (["a", "b"], "b", "b"), (["only"], "only", "only")],
)
def test_signatures_are_found_by_name(keys, asked, due):
    found = entry(read(written(signed(*keys))), asked)
    assert (found.signature.name, list(found.inputs.items()), list(found.outputs)) == (due, [("a", 0)], ["b"])


@pytest.mark.parametrize(("keys", "asked"), [(["a", "b"], ""), (["a"], "c")])
def test_a_signature_that_is_not_there_is_refused_with_those_that_are(keys, asked):
    with pytest.raises(SignatureError, match=f"it has {', '.join(keys)}"):
        entry(read(written(signed(*keys))), asked)


def changed(path, value):
    """The model with one part replaced; ``path`` leads there."""
    model = summed()
    at = model
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return model


GRAPH = ("subgraphs", 0)
REFUSED = {
    "custom operator": changed(("operator_codes", 0), {"old_code": 32, "code": 32, "custom_code": "Mine"}),
    "flex": changed(("operator_codes", 0), {"old_code": 32, "code": 32, "custom_code": "FlexErf"}),
    "named builtin": changed(("operator_codes", 0), {"code": 9, "custom_code": "Mine"}),
    "delegate": changed(("operator_codes", 0), {"code": 51}),
    "custom call": changed(("operator_codes", 0), {"old_code": 127, "code": 173}),
    "unknown operator": changed(("operator_codes", 0), {"old_code": 127, "code": 500}),
    "negative operator": changed(("operator_codes", 0), {"old_code": -5, "code": -7}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_operators_that_are_not_built_in_are_refused(name):
    with pytest.raises(Refused, match="built-in operators only"):
        read(written(REFUSED[name]))


@pytest.mark.parametrize(
    "more",
    [
        ("Model", 8, "[Named]", [{"name": "weights.bin"}]),  # groups of buffers in other files
        ("Tensor", 10, "4", 1),  # the buffer of a tensor there
        ("Buffer", 1, "8", 4096),  # weights behind the end of the table
        ("Tensor", 6, "Quantization", {}),  # sparse
        ("Quantization", 5, "Named", {}),
        ("Operator", 9, "8", 4096),
        ("Operator", 12, "Named", {}),
    ],
    ids=lambda more: f"{more[0]}-{more[1]}",
)
def test_what_no_layout_knows_is_refused(more):
    with pytest.raises(Refused, match="more than is read here"):
        read(written(summed(), more=[more]))


def test_options_that_are_not_known_are_refused():
    content = bytearray(written(changed((*GRAPH, "operators", 0, "kind"), 100)))
    content[content.index(100)] = 127
    with pytest.raises((Refused, IntegrityError)):
        read(bytes(content))


BROKEN = {
    "tensor": changed((*GRAPH, "operators", 0, "inputs"), [0, 3]),
    "negative tensor": changed((*GRAPH, "operators", 0, "outputs"), [-1]),
    "graph's tensor": changed((*GRAPH, "inputs"), [9]),
    "buffer": changed((*GRAPH, "tensors", 1, "buffer"), 7),
    "operator": changed((*GRAPH, "operators", 0, "code"), 4),
    "metadata": summed(metadata=[{"name": "min_runtime_version", "buffer": 9}]),
    "size of a constant": changed((*GRAPH, "tensors", 1, "shape"), [1 << 20, 1 << 10]),
    "negative extent": changed((*GRAPH, "tensors", 0, "shape"), [-7, 2]),
    "no graph": summed(subgraphs=[]),
    "no tensors": summed(subgraphs=[{"inputs": [0], "outputs": [0]}]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_parts_that_are_not_there_are_found(name):
    with pytest.raises(IntegrityError):
        read(written(BROKEN[name]))


@pytest.mark.parametrize("side", ["tensor", "graph"])
def test_a_signature_of_parts_that_are_not_there_is_found(side):
    model = signed("a")
    if side == "tensor":
        model["signatures"][0]["inputs"][0]["tensor"] = 77
    else:
        model["signatures"][0]["subgraph"] = 3
    with pytest.raises(IntegrityError):
        entry(read(written(model)))


@pytest.mark.parametrize("kind", [5, 8, 17])
def test_types_that_do_not_travel_are_refused(kind):
    with pytest.raises(SignatureError, match="does not travel"):
        entry(read(written(changed((*GRAPH, "tensors", 0, "type"), kind))))


@pytest.mark.parametrize(
    "content", [b"", b"\x1c\0\0\0", b"\x1c\0\0\0TFL3", b"\xff\xff\xff\xffTFL3", b"\0\0\0\0TFL3" * 9]
)
def test_what_is_no_model_is_refused(content):
    with pytest.raises(HeadraceError):
        read(content)


def test_another_mark_is_refused():
    with pytest.raises(IntegrityError, match="TFL2"):
        read(written(summed(), mark=b"TFL2"))


def test_a_small_file_cannot_keep_its_reader_busy():
    """Two thousand times one graph of two thousand times one tensor."""
    builder = flatbuffers.Builder()
    found = _table(builder, "Tensor", {"type": 0}, ())
    for slot in (0, 2):  # tensors of the graph, graphs of the model
        builder.StartVector(4, 2000, 4)
        for _ in range(2000):
            builder.PrependUOffsetTRelative(found)
        many = builder.EndVector()
        builder.StartObject(slot + 1)
        builder.PrependUOffsetTRelativeSlot(slot, many, 0)
        found = builder.EndObject()
    builder.Finish(found, b"TFL3")
    with pytest.raises(IntegrityError, match="more than 300000 parts"):
        read(bytes(builder.Output()))


def test_bits_changed_anywhere_never_lead_outside_the_file():
    """Each is read as a whole or refused in our words; no other error, and no hang."""
    content = bytearray(written(signed("a", "serving_default")))
    refused = 0
    for bit in random.Random(7).sample(range(len(content) * 8), 2000):
        content[bit // 8] ^= 1 << bit % 8
        try:
            entry(read(bytes(content)))
        except HeadraceError:
            refused += 1
        content[bit // 8] ^= 1 << bit % 8
    assert 400 < refused < 2000  # the others change a name, a weight or a number


def test_every_table_of_the_format_has_a_layout():
    kinds = {what.strip("[]") for layout in LAYOUTS.values() for _, what in layout}
    assert kinds - set(LAYOUTS) == {*NUMBERS, "text", "-", OPTIONS}
