"""A TorchScript model inside its worker: its pickles and its code are read before PyTorch compiles them."""

import ast
import re
import warnings
from pathlib import Path
from typing import IO, Any

import numpy as np

from headrace.engines.torch.archive import Archive
from headrace.errors import IntegrityError, Refused, SignatureError
from headrace.models.archives import opened
from headrace.models.artifact import existing
from headrace.models.feeding import Called, fed
from headrace.models.signature import Signature, Tensor
from headrace.models.tensors import NUMPY
from headrace.serving.worker import Score

MAIN_FILE = "model.torchscript"
_CODE = re.compile(r"code/[\w./]+\.py")
_KEPT = re.compile(r"data\.pkl|constants\.pkl|(data|constants)/\w+|version|byteorder|\.data/version")
_DROPPED = re.compile(r"extra/.*|.*\.debug_pkl|traced_inputs(\.pkl|/\w+)|\.data/serialization_id|\.storage_alignment")
_FORBIDDEN = frozenset({"save", "from_file", "rpc_async", "rpc_sync", "rpc_remote", "hasattr", "load_tensor"})
"""Operators that open files or connections, and what finds names in text."""

_NAMESPACES = frozenset({"aten", "prim", "quantized", "torchvision"})
_CLASSES = frozenset({"quantized", "rnn"})


def load(folder: Path, signature: Signature) -> Score:
    """A scripted or traced module that scores.

    Raises:
        IntegrityError: The file is missing or no TorchScript.
        Refused: Its code opens files or connections, or a pickle in it holds more than tensors and its own objects.
        SignatureError: It does not take or give the signature's tensors.
    """
    path = existing(folder / MAIN_FILE)
    with opened(path) as zipped:
        archive = Archive(zipped)
        with archive.rewritten(_needed(archive, path), {}) as file:
            module = _loaded(file, path)
    from headrace.engines.torch.feeding import of_arrays

    call = of_arrays(lambda tensors: module(*tensors))
    names = [argument.name for argument in module.forward.schema.arguments[1:]]
    given = {t.name: t.dtype for t in signature.tensors}
    own = tuple(Tensor(name, given.get(name, "float32"), ()) for name in names)
    if signature.kind == "tensor":
        return _of_tensors(call, signature, own)
    return fed(call, signature, Signature("tensor", own, ()))


def check_code(text: str, where: str) -> None:
    """Raise ``Refused`` when code of TorchScript opens files or connections, or cannot be read as Python is."""
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError, RecursionError) as error:
        raise Refused("the model's code cannot be read", where=where, why=str(error)[:200]) from error
    inner = {id(node.value): node.attr for node in nodes if isinstance(node, ast.Attribute)}
    for node in nodes:
        strange = _strange(node, inner)
        if strange:
            raise Refused("the model's code does more than compute", where=where, why=strange)


def _strange(node: ast.AST, inner: dict[int, str]) -> str:
    """What a node does that no model needs; ``inner`` is which attribute is taken of a node."""
    if isinstance(node, ast.Name):
        if node.id == "ops" and inner.get(id(node)) not in _NAMESPACES:
            return f"ops.{inner.get(id(node))}"
        return node.id if node.id in _FORBIDDEN else ""
    if isinstance(node, ast.Attribute):
        if node.attr == "classes" and inner.get(id(node)) not in _CLASSES:
            return f"classes.{inner.get(id(node))}"
        return node.attr if node.attr in _FORBIDDEN else ""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
        # PyTorch writes getattr for names that are no identifiers, as a layer's number.
        last = node.args[-1] if node.args else None
        number = isinstance(last, ast.Constant) and isinstance(last.value, str) and not last.value.isidentifier()
        return "" if number else "getattr"
    return ""


def _needed(archive: Archive, path: Path) -> list[str]:
    """What PyTorch is given of the archive, when nothing in it does more than compute."""
    code = [name for name in archive.names if _CODE.fullmatch(name)]
    kept = [name for name in archive.names if _KEPT.fullmatch(name)]
    strange = [n for n in archive.names if not _DROPPED.fullmatch(n) and n not in {*code, *kept}]
    if strange:
        raise Refused("the archive holds more than a TorchScript model", where=str(path), why=strange[0])
    for name in code:
        check_code(archive.read(name).decode(), name)
    return [*code, *kept]


def _loaded(file: IO[bytes], path: Path) -> Any:
    import torch

    from headrace.engines.torch.feeding import quiet

    quiet()
    try:
        with warnings.catch_warnings(action="ignore"):
            module = torch.jit.load(f"/dev/fd/{file.fileno()}", map_location="cpu")
        return module.eval()
    except MemoryError:
        raise
    except Exception as error:
        raise IntegrityError("the model cannot be loaded", where=str(path), why=str(error)[:300]) from error


def _of_tensors(call: Called, signature: Signature, own: tuple[Tensor, ...]) -> Score:
    """TorchScript says no shapes: what it gives is learned from zeros, where the signature fixes their shape."""
    yours = tuple(o for o in signature.outputs if isinstance(o, Tensor))
    score = fed(call, signature, Signature("tensor", own, tuple(Tensor(o.name, o.dtype, ()) for o in yours)))
    if any(-1 in tensor.shape[1:] for tensor in signature.tensors):
        return score
    zeros = {t.name: np.zeros([max(n, 1) for n in t.shape], NUMPY[t.dtype]) for t in signature.tensors}
    try:
        answer = score(zeros)
    except (RuntimeError, ValueError, IndexError, TypeError, KeyError, AttributeError) as error:
        raise SignatureError("the model does not take or give the signature's tensors", why=str(error)[:300]) from error
    for tensor in yours:
        found = answer[tensor.name]
        if found.dtype != NUMPY[tensor.dtype] or found.ndim != len(tensor.shape):
            why = f"the signature says {tensor.dtype} of {len(tensor.shape)} extents"
            raise SignatureError(f"the model gives {tensor.name!r} as {found.dtype} {list(found.shape)}", why=why)
    return score
