"""The graph of an exported program, as the JSON that PyTorch keeps it in: read, and found harmless, without PyTorch.

PyTorch makes Python of it: it looks operators up by their dotted names below ``torch``, ``operator`` and ``math``,
evaluates sizes, writes names into generated code. So each text in it must be of the kind that its key has, and what a
program does not need to run (stack traces, guards in Python, sample inputs) is left out.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from headrace.engines.torch.expressions import check_expression
from headrace.errors import IntegrityError, Refused, SignatureError
from headrace.models.signature import Dtype, Signature, Tensor

_TYPES: Mapping[int, Dtype] = {
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    12: "bool",
    28: "uint16",
    34: "uint32",
    35: "uint64",
}
"""PyTorch's number of a type to ours."""

_SYM = ["int", "float", "ite", "max", "min", "not", "sqrt", "sum"]
_OPERATORS = re.compile(
    r"torch\.ops\.(aten|prims|quantized_decomposed|torchvision)\.(?!(from_file|save)\.)\w+\.\w+|"
    r"torch\.ops\.higher_order\.(cond|while_loop|map_impl|scan|associative_scan|wrap_with_set_grad_enabled|"
    r"wrap_with_autocast)|"
    r"_operator\.(eq|ne|le|ge|lt|gt|neg|pos|mul|add|sub|floordiv|mod|pow|truediv|and_|or_|lshift|rshift|getitem)|"
    rf"math\.(trunc|ceil|floor)|torch\.sym_({'|'.join(_SYM)})"
)
_IDENTIFIER = re.compile(r"([A-Za-z_]\w*)?", re.ASCII)
_DOTTED = re.compile(r"(\w+(\.\w+)*)?", re.ASCII)  # parts of a Sequential are called by numbers
_PLAIN = re.compile(r"[\w ,.:;=<>()+-]{0,200}", re.ASCII)
_NUMBER = re.compile(r"-?Infinity|NaN")
_NODE_TYPES = frozenset({"builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"})
_OPAQUE = frozenset({"custom_obj", "as_custom_obj", "token"})


def checked(content: bytes) -> dict[str, Any]:
    """The program without what it does not need to run.

    Raises:
        Refused: A text in it is not of the kind that its key has; it holds opaque objects or is for another device.
        IntegrityError: It is no program.
    """
    try:
        program: dict[str, Any] = json.loads(content)
        graph = program["graph_module"]
        _strip(graph["graph"])
        graph["metadata"], graph["treespec_namedtuple_fields"], program["guards_code"] = {}, {}, []
        graph["module_call_graph"] = [e for e in graph["module_call_graph"] if e["fqn"] == ""]
        _check(program, "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise IntegrityError("the model cannot be loaded", where="models/model.json", why=repr(error)[:300]) from error
    return program


def checked_payload(content: bytes, prefix: str) -> None:
    """Check which entries hold the weights or constants.

    Raises:
        Refused: One is a pickle, or lies elsewhere.
        IntegrityError: It says nothing of the kind.
    """
    try:
        for name, entry in json.loads(content)["config"].items():
            _check({name: entry["tensor_meta"]}, "")
            if entry["use_pickle"] is not False or not re.fullmatch(rf"{prefix}_\d+", entry["path_name"]):
                raise Refused(f"{name!r} is kept as a pickle, which runs code", why=str(entry["path_name"])[:100])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError("the model cannot be loaded", where=prefix, why=repr(error)[:300]) from error


def declared(program: Mapping[str, Any]) -> Signature:
    """The tensors that the program takes and gives; an extent that varies is -1.

    Outputs have the names of the mapping that the program returns; otherwise ``output``, or ``output_0``, ``output_1``.

    Raises:
        SignatureError: It takes or gives what is no tensor, or a type that does not travel.
        IntegrityError: It is no program.
    """
    graph = program["graph_module"]
    try:
        values = graph["graph"]["tensor_values"]
        inputs = [_argument(spec, "user_input") for spec in graph["signature"]["input_specs"] if _of_user(spec)]
        outputs = [_argument(spec, "user_output") for spec in graph["signature"]["output_specs"] if _of_user(spec)]
        names = returned(program) or tuple(f"output_{i}" if outputs[1:] else "output" for i in range(len(outputs)))
        given = tuple(_tensor(name, values[key]) for name, key in zip(names, outputs, strict=True))
        return Signature("tensor", tuple(_tensor(key, values[key]) for key in inputs), given)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise IntegrityError("the model cannot be loaded", where="models/model.json", why=repr(error)[:300]) from error


def returned(program: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys of the mapping that the program returns; none when it returns tensors only."""
    spec = json.loads(program["graph_module"]["module_call_graph"][0]["signature"]["out_spec"])[1]
    if spec["type"] not in {"builtins.dict", "collections.OrderedDict"}:
        return ()
    return tuple(json.loads(spec["context"]))


def _of_user(spec: Mapping[str, Any]) -> bool:
    return bool({"user_input", "user_output", "constant_input"} & set(spec))


def _argument(spec: Mapping[str, Any], kind: str) -> str:
    argument = spec[kind]["arg"] if kind in spec else {}
    if "as_tensor" not in argument:
        what = "takes" if kind == "user_input" else "gives"
        raise SignatureError(
            f"the program {what} what is no tensor", why=str(spec)[:100], fix="export it on tensors only"
        )
    return str(argument["as_tensor"]["name"])


def _tensor(name: str, meta: Mapping[str, Any]) -> Tensor:
    dtype = _TYPES.get(meta["dtype"])
    if dtype is None:
        raise SignatureError(
            f"tensor {name!r} has a type that does not travel", fix="let the model convert it to float32"
        )
    return Tensor(name, dtype, tuple(size.get("as_int", -1) for size in meta["sizes"]))


def _strip(graph: dict[str, Any]) -> None:
    """Leave the metadata of nodes out, in graphs within the graph too."""
    for node in graph["nodes"]:
        node["metadata"] = {}
        for argument in node["inputs"]:
            if "as_graph" in argument["arg"]:
                _strip(argument["arg"]["as_graph"]["graph"])


def _check(value: Any, key: str) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            if not _DOTTED.fullmatch(name) or name in _OPAQUE:
                raise Refused("the program holds more than operators on tensors", where="models/model.json", why=name)
            _check(inner, name)
    elif isinstance(value, list):
        for inner in value:
            _check(inner, key)
    elif isinstance(value, str):
        _RULES.get(key, _matches(_DOTTED, "a name"))(value)


def _matches(pattern: "re.Pattern[str]", what: str) -> Callable[[str], None]:
    def check(text: str) -> None:
        if not pattern.fullmatch(text):
            raise Refused(f"the program has {text[:100]!r} where {what} is due", where="models/model.json")

    return check


def _check_device(text: str) -> None:
    if text != "cpu":
        raise Refused(f"the program was exported for {text[:20]!r}", fix="move the model to the CPU, then export it")


def _check_tree(text: str) -> None:
    """How arguments nest: tuples, lists and mappings with plain keys."""
    version, spec = json.loads(text)
    if version != 1:
        raise Refused("the program's arguments nest in a way that is not known", why=text[:100])
    _check_nested(spec)


def _check_nested(spec: Mapping[str, Any]) -> None:
    kind, keys = spec["type"], json.loads(spec["context"] or "null") or []
    if (kind is not None and kind not in _NODE_TYPES) or not all(
        isinstance(k, str) and _PLAIN.fullmatch(k) for k in keys
    ):
        raise Refused("the program takes or gives more than tuples, lists and mappings of tensors", why=str(kind)[:100])
    for child in spec["children_spec"]:
        _check_nested(child)


_RULES: Mapping[str, Callable[[str], None]] = {
    "target": _matches(_OPERATORS, "an operator on tensors"),
    "as_operator": _matches(_OPERATORS, "an operator on tensors"),
    "name": _matches(_IDENTIFIER, "a name"),
    "as_name": _matches(_IDENTIFIER, "a name"),
    "forward_arg_names": _matches(_IDENTIFIER, "a name"),
    "as_string": _matches(_PLAIN, "plain text"),
    "as_strings": _matches(_PLAIN, "plain text"),
    "as_float": _matches(_NUMBER, "a number"),
    "as_floats": _matches(_NUMBER, "a number"),
    "torch_version": _matches(_PLAIN, "a version"),
    "type": _check_device,
    "expr_str": check_expression,
    "in_spec": _check_tree,
    "out_spec": _check_tree,
}
