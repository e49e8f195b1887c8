"""What tests of tensor models share: signatures, functions as models, a gateway that serves them, tiny ONNX graphs."""

import json
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from onnx import TensorProto, helper
from served import Function, Gated, model

from headrace.models.signature import Signature, Tensor
from headrace.models.tensors import NUMPY
from headrace.serving.endpoint import Endpoint, Preference

DATATYPES = {
    "bool": "BOOL",
    **{f"{sign}int{bits}": f"{sign}int{bits}".upper() for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "string": "BYTES",
}

PIXELS = Signature(
    "tensor",
    (Tensor("pixels", "float32", (-1, 2, 3)),),
    (Tensor("sum", "float32", (-1,)), Tensor("double", "float32", (-1, 2, 3))),
)
PAIR = Signature(
    "tensor",
    (Tensor("a", "int64", (-1,)), Tensor("name", "string", (-1, -1))),
    (Tensor("name_bytes", "string", (-1, -1)),),
)


def sums(batch):
    """Sum over each row, and twice the input."""
    return {"sum": batch["pixels"].sum((1, 2)), "double": batch["pixels"] * 2}


def renamed(batch):
    """Each name with its row's number."""
    names = batch["name"]
    numbers = np.broadcast_to(batch["a"][:, None], names.shape)
    return {
        "name_bytes": np.array([f"{n}{a}" for n, a in zip(names.flat, numbers.flat, strict=True)], object).reshape(
            names.shape
        )
    }


def echo(dtype, shape=(-1, 2)):
    """Signature of a model that answers its input."""
    return Signature("tensor", (Tensor("x", dtype, shape),), (Tensor("y", dtype, shape),))


def echoed(batch):
    return {"y": batch["x"]}


class Several(Function):
    """A loaded model with several signatures: functions by their names, ``""`` for the one that is served unasked."""

    def __init__(self, functions):
        super().__init__(functions[""])
        self._functions = functions

    def signed(self, name):
        return Function(self._functions[name])


def several(reference, functions, signature):
    """A model of several signatures ready to score."""
    return replace(model(reference, functions[""], fast=True, signature=signature), loaded=Several(functions))


@contextmanager
def tensors_gated(folder, served, **more):
    """A gateway with one endpoint a name: ``{name: (signature, function)}``, each served by ``<name>@1``."""
    gate = Gated(folder, tuple(served))
    try:
        for name, (signature, function) in served.items():
            reference = f"{name}@1"
            deployed = Endpoint(name, (Preference(reference, 2.0),), 3.0, **more)
            gate.flip(deployed, {reference: model(reference, function, fast=True, signature=signature)})
        yield gate
    finally:
        gate.close()


def onnx_double(dtype="float32", shape=(None, 2, 3)):
    """Bytes of an ONNX graph: ``y`` is twice ``x``."""
    return _onnx(helper.make_node("Add", ["x", "x"], ["y"]), dtype, shape)


def onnx_negative(dtype="float32", shape=(None, 2, 3)):
    """Bytes of an ONNX graph: ``y`` is minus ``x``, which is finite where ``x`` is."""
    return _onnx(helper.make_node("Neg", ["x"], ["y"]), dtype, shape)


def _onnx(node, dtype, shape):
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(NUMPY[dtype])) if dtype != "string" else TensorProto.STRING
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, shape)],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()


def posting(gate):
    """Posts JSON values, or bytes as they are; returns the status and the reply's JSON values."""

    def send(path, body, headers=None):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        reply = gate.client.request("POST", path, data, headers or {})
        return reply.status, json.loads(reply.body)

    return send
