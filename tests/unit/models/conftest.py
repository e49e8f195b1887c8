import numpy as np
import polars as pl
import pytest
from onnx import TensorProto, helper

from headrace.engines.local.files import LocalFiles
from headrace.engines.sqlite.ledger import SqliteLedger
from headrace.models.artifact import Artifact
from headrace.storage.stores import Stores


@pytest.fixture
def ledger(tmp_path):
    opened = SqliteLedger(tmp_path / "ledger.db")
    yield opened
    opened.close()


@pytest.fixture
def stores(tmp_path, ledger):
    return Stores(ledger, LocalFiles(tmp_path / "store"), None)


@pytest.fixture
def wine():
    return pl.DataFrame({"alcohol": [12.8, 13.1], "grape": ["red", None], "ash": [2, 3], "quality": [6, 7]})


def artifact_that_adds(constant):
    """A graph that answers ``alcohol`` plus a constant."""
    numbers = helper.make_tensor_value_info("numbers", TensorProto.FLOAT, ["rows", 2])
    strings = helper.make_tensor_value_info("strings", TensorProto.STRING, ["rows", 1])
    answer = helper.make_tensor_value_info("answer", TensorProto.FLOAT, ["rows"])
    weights = helper.make_tensor("weights", TensorProto.FLOAT, [2], np.array([1, 0], dtype=np.float32))
    added = helper.make_tensor("added", TensorProto.FLOAT, [], [constant])
    nodes = [
        helper.make_node("MatMul", ["numbers", "weights"], ["sum"]),
        helper.make_node("Add", ["sum", "added"], ["answer"]),
    ]
    graph = helper.make_graph(nodes, "adds", [numbers, strings], [answer], [weights, added])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return Artifact("onnx", {"model.onnx": model.SerializeToString()}, ("alcohol", "ash", "grape"), ("answer",))


@pytest.fixture
def adds():
    return artifact_that_adds
