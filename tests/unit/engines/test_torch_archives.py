"""Hostile PyTorch files are found by reading them; PyTorch is not even installed here."""

import io
import json
import os
import pickle
import zipfile

import pytest

from headrace.engines.torch.archive import check_pickle
from headrace.engines.torch.exported import declared
from headrace.engines.torch.expressions import check_expression
from headrace.engines.torch.script import check_code
from headrace.errors import HeadraceError, IntegrityError, Refused, SignatureError
from headrace.models.formats import sniffed
from headrace.models.signature import Signature, Tensor

S77 = {"expr_str": "Symbol('s77', positive=True, integer=True)", "hint": {"as_int": 3}}
SPEC = {"type": "builtins.tuple", "context": "null", "children_spec": []}
LEAF = {"type": None, "context": None, "children_spec": []}


def _meta(*sizes, dtype=7):
    strides, offset = [{"as_int": 1} for _ in sizes], {"as_int": 0}
    return {"dtype": dtype, "sizes": list(sizes), "device": {"type": "cpu", "index": None}, "strides": strides} | {
        "storage_offset": offset,
        "layout": 7,
        "requires_grad": False,
    }


def _program():
    """y = relu(x), as PyTorch writes it."""
    x = {"as_tensor": {"name": "x"}}
    relu = {"target": "torch.ops.aten.relu.default", "inputs": [{"name": "self", "arg": x, "kind": 1}]}
    relu |= {"outputs": [{"as_tensor": {"name": "relu"}}], "metadata": {"stack_trace": 'File "a.py", line 1'}}
    graph = {"inputs": [x], "outputs": [{"as_tensor": {"name": "relu"}}], "nodes": [relu]}
    graph |= {
        "tensor_values": {name: _meta({"as_expr": dict(S77)}, {"as_int": 2}) for name in ("x", "relu")},
        "sym_int_values": {},
    }
    calls = {"inputs": [], "outputs": [], "forward_arg_names": ["x"]}
    calls |= {"in_spec": json.dumps([1, SPEC | {"children_spec": [LEAF]}]), "out_spec": json.dumps([1, LEAF])}
    signature = {"input_specs": [{"user_input": {"arg": x}}]}
    signature |= {"output_specs": [{"user_output": {"arg": {"as_tensor": {"name": "relu"}}}}]}
    module = {"graph": graph, "signature": signature, "module_call_graph": [{"fqn": "", "signature": calls}]}
    return {"graph_module": module, "range_constraints": {"s77": {"min_val": 1, "max_val": None}}, "guards_code": []}


def _zipped(entries):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries.items():
            archive.writestr(f"m/{name}", content)
    return buffer.getvalue()


def _entries(program=None, **more):
    configs = {
        f"data/{what}/model_{what}_config.json": json.dumps({"config": {}}).encode()
        for what in ("weights", "constants")
    }
    model = json.dumps(_program() if program is None else program).encode()
    return {"models/model.json": model, "archive_format": b"pt2", **configs, **more}


@pytest.fixture
def read(tmp_path):
    def read(entries):
        content = _zipped(entries)
        assert sniffed(content) == "torch"
        (tmp_path / "model.torch").write_bytes(content)
        return declared(tmp_path)

    return read


def test_a_program_says_what_it_takes_and_gives(read):
    assert read(_entries()) == Signature(
        "tensor", (Tensor("x", "float32", (-1, 2)),), (Tensor("output", "float32", (-1, 2)),)
    )


def test_what_returns_a_mapping_has_its_keys(read):
    program = _program()
    spec = [1, {"type": "builtins.dict", "context": '["score"]', "children_spec": [LEAF]}]
    program["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = json.dumps(spec)
    assert [o.name for o in read(_entries(program)).outputs] == ["score"]


def _node(**changes):
    def change(program):
        program["graph_module"]["graph"]["nodes"][0].update(changes)

    return change


def _calls(**changes):
    def change(program):
        program["graph_module"]["module_call_graph"][0]["signature"].update(changes)

    return change


def _size(text):
    def change(program):
        program["graph_module"]["graph"]["tensor_values"]["x"]["sizes"][0]["as_expr"]["expr_str"] = text

    return change


def _argument(value):
    return _node(inputs=[{"name": "self", "arg": value, "kind": 1}])


ENUM = {
    "type": "builtins.dict",
    "context": '[{"__enum__": true, "fqn": "antigravity:x", "name": "y"}]',
    "children_spec": [],
}

HOSTILE = {
    "system": _node(target="torch.os.system"),
    "library": _node(target="torch.ops.load_library"),
    "loads": _node(target="torch.load"),
    "writes": _node(target="torch.ops.aten.save.default"),
    "reads": _node(target="torch.ops.aten.from_file.default"),
    "attribute": _node(target="_operator.attrgetter"),
    "walks": _node(target="torch.ops.aten.relu.default.__class__"),
    "operator": _argument({"as_operator": "torch.os.system"}),
    "name": _node(name="x): import os; os.system('true')\n#"),
    "output": _node(outputs=[{"as_tensor": {"name": "a\nimport os"}}]),
    "keyword": _argument({"as_string_to_argument": {"a=__import__('os')": {"as_int": 1}}}),
    "parameter": _calls(forward_arg_names=["x=__import__('os')"]),
    "text": _argument({"as_string": "'; import os #"}),
    "size": _size("__import__('os').system('true')"),
    "power": _size("[].__class__"),
    "object": _argument({"as_custom_obj": {"name": "x", "class_fqn": "y"}}),
    "tree": _calls(in_spec=json.dumps([1, SPEC | {"type": "os.system"}])),
    "enum": _calls(in_spec=json.dumps([1, ENUM])),
    "protocol": _calls(in_spec=json.dumps([2, SPEC])),
    "device": lambda p: p["graph_module"]["graph"]["tensor_values"]["x"]["device"].update(type="cuda"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_program_that_would_run_more_than_operators_is_refused(read, name):
    program = _program()
    HOSTILE[name](program)
    with pytest.raises(Refused):
        read(_entries(program))


def test_guards_in_python_and_stack_traces_are_left_out(tmp_path):
    from headrace.engines.torch.program import checked

    program = _program()
    program["guards_code"] = ["__import__('os').system('true')"]
    kept = checked(json.dumps(program).encode())
    assert kept["guards_code"] == []
    assert kept["graph_module"]["graph"]["nodes"][0]["metadata"] == {}


class Evil:
    def __reduce__(self):
        return os.system, ("touch /hostile",)


def _config(path, **more):
    return json.dumps(
        {"config": {"w": {"path_name": path, "use_pickle": False, "tensor_meta": _meta()} | more}}
    ).encode()


WEIGHTS = "data/weights/model_weights_config.json"


@pytest.mark.parametrize(
    "more",
    [
        {"data/aotinductor/model/a.so": b"\x7fELF"},
        {"data/executorch/model.pte": b"x"},
        {"models/other.json": b"{}"},
        {"data/weights/model.pt": pickle.dumps(Evil())},
        {"data/constants/opaque_obj_0": pickle.dumps(Evil())},
        {"data/constants/custom_obj_0": pickle.dumps(Evil())},
        {WEIGHTS: _config("weight_0", use_pickle=True)},
        {WEIGHTS: _config("../../weight_0")},
        {WEIGHTS: _config("opaque_obj_0")},
        {WEIGHTS: b"[]"},
        {"data/sample_inputs/model.pt": pickle.dumps(Evil())},
        {"data/sample_inputs/model.pt": _zipped({"data.pkl": pickle.dumps(Evil(), 2)})},
        {"models/model.json": b"{"},
        {"models/model.json": b"[" * 100_000},
    ],
    ids=lambda more: f"{next(iter(more))}-{len(next(iter(more.values())))}",
)
def test_what_else_an_archive_may_hold_is_refused(read, more):
    with pytest.raises((Refused, IntegrityError)):
        read(_entries(**more))


def test_two_roots_or_two_entries_of_one_name_are_refused(tmp_path):
    buffer = io.BytesIO(_zipped(_entries()))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("other/data.json", b"")
    (tmp_path / "model.torch").write_bytes(buffer.getvalue())
    with pytest.raises(Refused, match="2 folders"):
        declared(tmp_path)
    buffer = io.BytesIO(_zipped(_entries()))
    with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("m/models/model.json", b"{}")
    with pytest.raises(Refused, match="two entries"):
        sniffed(buffer.getvalue())


@pytest.mark.parametrize("dtype", [9, 13])
def test_types_that_do_not_travel_are_refused(read, dtype):
    program = _program()
    program["graph_module"]["graph"]["tensor_values"]["relu"]["dtype"] = dtype
    with pytest.raises(SignatureError, match="does not travel"):
        read(_entries(program))


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_runs_code_is_refused_in_every_protocol(protocol):
    for content in (pickle.dumps(Evil(), protocol), pickle.dumps({"a": [Evil()]}, protocol)):
        with pytest.raises(Refused):
            check_pickle(content, "data.pkl")


@pytest.mark.parametrize(
    "content",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"(S'true'\nios\nsystem\n.",
        b"\x80\x02c__builtin__\neval\n.",
        b"\x80\x02ctorch.serialization\nload\n.",
        b"\x80\x02ctorch\nload\n.",
        b"\x80\x02ctorch._utils\n_rebuild_device_tensor_from_numpy\n.",
        b"\x80\x02c__torch__.torch.classes.dist_c10d\nProcessGroup\n.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02X\x05\x00\x00\x00ab",
        b"",
    ],
)
def test_pickles_written_by_hand_are_refused(content):
    with pytest.raises(Refused):
        check_pickle(content, "data.pkl")


def test_a_pickle_of_tensors_and_script_objects_passes():
    for names in ("torch._utils\n_rebuild_tensor_v2", "torch\nFloatStorage", "__torch__.a.b\nLinear"):
        check_pickle(f"\x80\x02c{names}\n.".encode("latin-1"), "data.pkl")


@pytest.mark.parametrize(
    "line",
    [
        'torch.save(x, "/a")',
        'torch.from_file("/etc/passwd", False, 10)',
        '"/etc/passwd".from_file(False, 10)',
        'getattr(torch, "from_file")("/a")',
        'getattr(torch, "from_" "file")("/a")',
        'getattr(torch, "from_fil\\x65")("/a")',
        "ops.dist.send(x)",
        "a = ops",
        "y = __torch__.torch.classes.dist_c10d.Store()",
        'prim.rpc_sync("worker", 1)',
        "this is no code",
    ],
)
def test_script_that_does_more_than_compute_is_refused(line):
    with pytest.raises(Refused):
        check_code(f"def forward(self, x: Tensor) -> Tensor:\n  {line}\n", "code/__torch__.py")


def test_script_that_computes_passes():
    check_code(
        'class M(Module):\n  __parameters__ = ["w", ]\n  training : bool\n  w : Tensor\n'
        '  def forward(self: __torch__.M, x: Tensor) -> Tensor:\n    _0 = getattr(self.layers, "0")\n'
        "    y = ops.prim.NumToTensor(torch.size(x, 0))\n    return torch.add((_0).forward(x, ), y)\n",
        "code/__torch__.py",
    )


@pytest.mark.parametrize("text", ["Max(Integer(1), FloorDiv(Symbol('s7', positive=True), 2))", "2*s0 + 1", "s0 // 2"])
def test_arithmetic_on_sizes_passes(text):
    check_expression(text)


@pytest.mark.parametrize(
    "text",
    [
        "open('a')",
        "s0.__class__",
        "(lambda: 1)()",
        "[s0 for s0 in 'a']",
        "Symbol('a b')",
        "f'{s0}'",
        "",
        "(" * 5000,
        "1" * 20_000,
    ],
)
def test_other_expressions_are_refused(text):
    with pytest.raises(Refused):
        check_expression(text)


def test_bits_changed_anywhere_never_make_another_program(tmp_path):
    content = bytearray(_zipped(_entries()))
    path = tmp_path / "model.torch"
    path.write_bytes(content)
    due, refused = declared(tmp_path), 0
    for at in range(0, len(content) * 8, max(1, len(content) * 8 // 300)):
        content[at // 8] ^= 1 << at % 8
        path.write_bytes(content)
        try:
            assert declared(tmp_path) == due
        except HeadraceError:
            refused += 1
        content[at // 8] ^= 1 << at % 8
    assert refused > 200
