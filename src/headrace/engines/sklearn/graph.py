"""ONNX graphs: export a fitted model and cut the graph to the outputs that serving reads."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from headrace.engines.sklearn.layout import Layout, reorders
from headrace.errors import UsageError, first_line

OPSET = 18
IR_VERSION = 10


def exported(model: Any, final: Any, layout: Layout) -> onnx.ModelProto:
    """The whole graph of ``model`` as skl2onnx writes it, over ``numbers`` and ``strings``.

    Raises:
        UsageError: skl2onnx does not know one of the model's steps.
    """
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    # skl2onnx takes a transformer that reads as many columns as a matrix has to read them in the matrix's order. Where
    # that is wrong, it is told of one column more, and picks columns one by one.
    more = int(reorders(model, layout))
    types: list[tuple[str, Any]] = []
    if layout.numbers:
        types.append(("numbers", FloatTensorType([None, len(layout.numbers) + more])))
    if layout.strings:
        types.append(("strings", StringTensorType([None, len(layout.strings) + more])))
    options = {id(final): {"zipmap": False}} if hasattr(final, "classes_") else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # skl2onnx leans on what NumPy and onnx are about to drop
            made = to_onnx(model, name="model", initial_types=types, options=options, target_opset=OPSET)
    except Exception as error:  # skl2onnx raises whatever its per-class converters happen to meet
        raise UsageError(
            f"{type(final).__name__} cannot be exported to ONNX",
            why=first_line(error),
            fix="use an estimator and transformers that skl2onnx knows: HistGradientBoosting, RandomForest, "
            "LogisticRegression or Ridge after StandardScaler, SimpleImputer, OneHotEncoder or OrdinalEncoder",
        ) from error
    for matrix in made.graph.input:
        matrix.type.tensor_type.shape.dim[1].dim_value -= more
    return made


def cut(model: onnx.ModelProto, outputs: Sequence[str], *, columns: Sequence[int]) -> bytes:
    """Keep of the last output matrix one column an output: float32 [rows] each, under its own name.

    Args:
        model: A graph whose last output is a matrix [rows, width].
        outputs: Names of the outputs to be.
        columns: Position in the matrix of each output.
    """
    graph = model.graph
    matrix = graph.output[-1].name
    for name, column in zip(outputs, columns, strict=True):
        index = numpy_helper.from_array(np.array(column, dtype=np.int64), f"{name}__column")
        graph.initializer.append(index)
        graph.node.append(helper.make_node("Gather", [matrix, index.name], [f"{name}__cut"], axis=1))
        graph.node.append(helper.make_node("Cast", [f"{name}__cut"], [name], to=TensorProto.FLOAT))
    del graph.output[:]
    graph.output.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, ["rows"]) for n in outputs)
    _prune(graph)
    return _bytes(model)


def constant(layout: Layout, outputs: Sequence[str], values: NDArray[np.float64]) -> bytes:
    """A graph that answers the same values for every row of its input; ``values`` has one entry an output."""
    inputs = []
    if layout.numbers:
        inputs.append(helper.make_tensor_value_info("numbers", TensorProto.FLOAT, ["rows", len(layout.numbers)]))
    if layout.strings:
        inputs.append(helper.make_tensor_value_info("strings", TensorProto.STRING, ["rows", len(layout.strings)]))
    nodes = [helper.make_node("Shape", [inputs[0].name], ["rows"], start=0, end=1)]
    for name, value in zip(outputs, values, strict=True):
        cell = numpy_helper.from_array(np.array([value], dtype=np.float32))
        nodes.append(helper.make_node("ConstantOfShape", ["rows"], [name], value=cell))
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["rows"]) for n in outputs]
    graph = helper.make_graph(nodes, "model", inputs, ends)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="headrace"
    )
    return _bytes(model)


def _prune(graph: onnx.GraphProto) -> None:
    """Drop nodes and constants that no output needs (the label branch of a classifier)."""
    needed = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    constants = [c for c in graph.initializer if c.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(constants)


def _bytes(model: onnx.ModelProto) -> bytes:
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content
