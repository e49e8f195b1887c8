"""Models of tensors from registration to answers."""

import json
import threading
import time
from types import MappingProxyType

import numpy as np
import pytest
from served import Function
from tensor_served import PIXELS, Several, echo, onnx_double

from headrace.errors import IntegrityError, ParityFailed, SignatureError
from headrace.models.artifact import Artifact
from headrace.models.registry import Registration, register
from headrace.models.signature import Signature, Tensor
from headrace.models.version import ModelVersion
from headrace.serving.deployment import contract
from headrace.serving.outputs import check_default, checker, filled
from headrace.serving.scorer import Scorer
from headrace.serving.tensors import TensorDecoder
from headrace.serving.versions import load_model, proven

X = np.arange(12, dtype=np.float32).reshape(2, 2, 3)


def registered(project, dtype="float32", x=X, *, wrong=0, graph=None, **more):
    content = onnx_double(dtype, (None, *x.shape[1:])) if graph is None else graph
    artifact = Artifact("onnx", {"model.onnx": content}, ("x",), ("y",))
    asked = Registration("double", {"x": x}, "CC0-1.0", answers={"y": x + x + wrong}, **more)
    return register(project.platform.stores(), artifact, asked)


def load(project, version):
    platform = project.platform
    return load_model(platform.ledger(), platform.files(), platform.runtime, str(version))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint8", "float16"])
def test_an_onnx_model_of_tensors_is_proven_and_scores(project, dtype):
    loaded = load(project, registered(project, dtype, X.astype(dtype)))
    assert loaded.compared == 2
    given = TensorDecoder(loaded.signature).of_mapping({"x": X.tolist() if "f" in dtype else X.astype(int).tolist()})
    answer = checker(loaded.signature)(loaded.loaded.score(given.batch), given.count)["y"]
    assert answer.dtype == dtype
    assert (answer == X * 2).all()


def test_a_model_that_answers_otherwise_does_not_load(project):
    with pytest.raises(ParityFailed, match="'y', rows 0, 1"):
        load(project, registered(project, wrong=1))


def test_a_graph_of_another_type_or_rank_does_not_load(project):
    for graph in (onnx_double("float64", (None, 2, 3)), onnx_double("float32", (None, 2)), b"no graph"):
        with pytest.raises((SignatureError, IntegrityError)):
            load(project, registered(project, graph=graph))


def test_an_output_keeps_an_extent_of_one(project):
    loaded = load(project, registered(project, x=X.reshape(12, 1)))
    assert loaded.loaded.score({"x": X.reshape(12, 1)})["y"].shape == (12, 1)


def test_outputs_are_checked_against_the_signature():
    check = checker(PIXELS)
    good = {"sum": np.zeros(2, np.float32), "double": X}
    assert check(good, 2)["double"] is X
    for bad in ({"sum": np.zeros(3)}, {"sum": np.array([0, np.inf])}, {"double": X[:, :, :2]}, {"double": X.tolist()}):
        with pytest.raises((ValueError, TypeError), match=r"sum|double"):
            check(good | bad, 2)


def test_an_output_without_rows_is_one():
    signature = Signature("tensor", PIXELS.inputs, (Tensor("total", "float32", ()),))
    assert checker(signature)({"total": np.array(2.0)}, 5)["total"] == 2


def test_the_default_takes_the_shape_of_the_output():
    found = filled(PIXELS, {"sum": 1.0, "double": 2.0}, 3)
    assert (found["sum"].shape, found["double"].shape, found["double"].max()) == ((3,), (3, 2, 3), 2.0)
    assert filled(PIXELS, {"sum": 1.0}, 3) == {}
    check_default(PIXELS, {"sum": 1.0})
    with pytest.raises(SignatureError, match="no default"):
        check_default(echo("float32", (-1, -1)), {"y": 1.0})


def test_models_of_one_endpoint_take_equal_tensors():
    assert contract({"a@1": PIXELS, "b@1": PIXELS}) == PIXELS
    with pytest.raises(SignatureError, match="cannot share"):
        contract({"a@1": PIXELS, "b@1": echo("float32")})


class Ready:
    name, fast, trouble, shapes = "echo@1", False, "", MappingProxyType({})

    def __init__(self, shape, function):
        self.signature, self.loaded = echo("float32", shape), Function(function)

    def still_fast(self):
        return False


class Ticket:
    def __init__(self, given):
        self.input, self.started, self.came = given, time.monotonic(), threading.Event()

    def arrived(self, slot, outcome):
        self.outcome = outcome
        self.came.set()


@pytest.mark.parametrize(("shape", "calls"), [((-1, 2), 2), ((-1, -1), 3), ((1, 2), 4)])
def test_requests_are_scored_together_with_those_of_their_extents(shape, calls):
    first, seen, go = threading.Event(), [], threading.Event()

    def score(batch):
        seen.append(batch["x"].shape)
        first.set()
        go.wait(10)
        return {"y": batch["x"]}

    scorer = Scorer(Ready(shape, score), post=lambda call, *args: call(*args))
    decoder = TensorDecoder(scorer.model.signature)
    tickets = [Ticket(decoder.of_rows([[i, 1] if i < 2 or shape[1] > 0 else [i]])) for i in range(4)]
    scorer.submit(tickets[0], 0)
    assert first.wait(10)
    for ticket in tickets[1:]:
        scorer.submit(ticket, 0)
    go.set()
    for i, ticket in enumerate(tickets):
        assert ticket.came.wait(10)
        assert ticket.outcome.outputs["y"].ravel()[0] == i
    assert len(seen) == calls
    scorer.close()


def test_other_signatures_are_met_before_a_version_serves(tmp_path):
    """One with recorded rows scores these, one without a row of nothing; whatever it makes of it, the version serves."""
    seen = {}

    def noting(name, refuses=False):
        def score(batch):
            seen.setdefault(name, []).append({key: array.tolist() for key, array in batch.items()})
            if refuses:
                raise ValueError("no such example")
            return {"y": np.zeros(len(next(iter(batch.values()))), np.float32)}

        return score

    y = (Tensor("y", "float32", (-1,)),)
    others = (
        Signature("tensor", (Tensor("inputs", "bytes", (-1,)),), y, "by_example"),
        Signature("tensor", (Tensor("x", "float32", (-1, -1, 2)),), y, "wide"),
        Signature("tensor", (Tensor("x", "float32", (-1,)),), y, "recorded"),
    )
    x = (Tensor("x", "float32", (-1,)),)
    version = ModelVersion("half", 1, "00", Signature("tensor", x, y, others=others), "several")
    recorded = {"tensors": {"x": [7.0]}, "outputs": {"y": [0.0]}}
    (tmp_path / "examples.json").write_text(json.dumps({**recorded, "signatures": {"recorded": recorded}}))
    functions = {"": noting(""), "by_example": noting("by_example", refuses=True)}
    loaded = Several(functions | {name: noting(name) for name in ("wide", "recorded")})

    class Runtime:
        def load(self, folder, signature):
            return loaded

    found = proven(version, tmp_path, lambda _: Runtime())
    assert (found.compared, loaded.closed) == (2, False)
    del seen[""]
    assert seen == {
        "recorded": [{"x": [7.0]}],
        "by_example": [{"inputs": [b""]}],
        "wide": [{"x": [[[0.0, 0.0]]]}],
    }
