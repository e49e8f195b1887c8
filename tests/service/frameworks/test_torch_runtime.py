"""PyTorch's exported programs and TorchScript, each in a worker."""

import io
import json
import os
import pickle
import re
import subprocess
import sys
import warnings
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from asked import headrace, posted
from sum_suite import SumSuite, kept_by
from torch import nn

from headrace.client import Client
from headrace.conformance.runtime import SUM
from headrace.engines.torch.exported import declared
from headrace.engines.torch.runtime import open_runtime
from headrace.errors import Refused, SignatureError
from headrace.models.formats import sniffed
from headrace.models.signature import Signature, Tensor

pytestmark = [pytest.mark.service, pytest.mark.filterwarnings("ignore")]

kept = partial(kept_by, open_runtime)

BATCH = torch.export.Dim("batch")


class Sum(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1, bias=False)
        self.layer.weight.data = torch.tensor([[1.0, 2.0]])

    def forward(self, x):
        return self.layer(x)


class Words(nn.Module):
    """Embedding, attention, two outputs by name."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(50, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, ids):
        return {"meaning": self.layer(self.words(ids)).mean(1), "total": ids.sum(1)}


class Picture(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))

    def forward(self, x):
        return self.layers(x).softmax(-1), x.amax((1, 2, 3))


class Scaled(nn.Module):
    """Two inputs; the graph has a switch that its author's export put there."""

    def __init__(self):
        super().__init__()
        self.layer = nn.LSTM(4, 5, batch_first=True)
        self.register_buffer("k", torch.ones(5))

    def forward(self, x, scale):
        with torch.no_grad():
            found, _ = self.layer(x)
        return found * self.k * scale[:, None, None]


def exported(model, example, shapes):
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(model.eval(), example, dynamic_shapes=shapes), buffer)
    return buffer.getvalue()


def scripted(model, example=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.jit.script(model.eval()) if example is None else torch.jit.trace(model.eval(), example)
    buffer = io.BytesIO()
    torch.jit.save(made, buffer)
    return buffer.getvalue()


class TestExportedPrograms(SumSuite):
    open_runtime = staticmethod(open_runtime)
    declares = True

    @pytest.fixture(scope="class")
    def content(self):
        return exported(Sum(), (torch.zeros(3, 2),), {"x": {0: BATCH}})


class TestTorchScript(SumSuite):
    open_runtime = staticmethod(open_runtime)

    @pytest.fixture(scope="class")
    def content(self):
        return scripted(Sum())


IDS = np.array([[1, 2, 3], [4, 5, 6]])
PIXELS = np.random.default_rng(7).normal(size=(2, 3, 8, 8)).astype(np.float32)
SERIES = np.random.default_rng(8).normal(size=(2, 6, 4)).astype(np.float32)
MODELS = {
    "words": (Words(), {"ids": IDS}),
    "picture": (Picture(), {"x": PIXELS}),
    "bare": (nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Sequential(nn.Linear(3, 2))), {"input": SERIES[:, 0]}),
    "scaled": (Scaled(), {"x": SERIES, "scale": np.array([2, 3], np.float32)}),
}


def answered(model, inputs):
    with torch.no_grad():
        found = model.eval()(*(torch.from_numpy(array) for array in inputs.values()))
    if isinstance(found, dict):
        return {name: value.numpy() for name, value in found.items()}
    parts = found if isinstance(found, tuple) else (found,)
    return {f"output_{i}" if parts[1:] else "output": value.numpy() for i, value in enumerate(parts)}


@pytest.mark.parametrize("name", MODELS)
def test_an_exported_program_declares_its_tensors_and_answers_as_it_was_trained(tmp_path, name):
    model, inputs = MODELS[name]
    example = tuple(torch.from_numpy(array) for array in inputs.values())
    folder, runtime = kept(tmp_path, exported(model, example, {name: {0: BATCH} for name in inputs}))
    signature, due = declared(folder), answered(model, inputs)
    assert signature.tensors == tuple(Tensor(n, str(a.dtype), (-1, *a.shape[1:])) for n, a in inputs.items())
    assert signature.outputs == tuple(Tensor(n, str(a.dtype), (-1, *a.shape[1:])) for n, a in due.items())
    loaded = runtime.load(folder, signature)
    for count in (1, 2):
        answers = loaded.score({name: array[:count] for name, array in inputs.items()})
        assert answers.keys() == due.keys()
        for output, array in answers.items():
            np.testing.assert_allclose(array, due[output][:count], atol=1e-6)
    loaded.close()


@pytest.mark.parametrize("name", MODELS)
def test_a_scripted_model_of_tensors_answers_as_it_was_trained(tmp_path, name):
    model, inputs = MODELS[name]
    due = answered(model, inputs)
    folder, runtime = kept(tmp_path, scripted(model))
    outputs = tuple(Tensor(n, str(a.dtype), (-1, *a.shape[1:])) for n, a in due.items())
    signature = Signature(
        "tensor", tuple(Tensor(n, str(a.dtype), (-1, *a.shape[1:])) for n, a in inputs.items()), outputs
    )
    loaded = runtime.load(folder, signature)
    answers = loaded.score(inputs)
    for output in due:
        np.testing.assert_allclose(answers[output], due[output], atol=1e-6)
    loaded.close()
    for wrong in (
        Signature("tensor", (Tensor("other", "float32", (-1, 2)),), outputs),
        Signature("tensor", signature.inputs, (Tensor("other", "float32", (-1, 99)), *outputs)),
    ):
        with pytest.raises(SignatureError):
            runtime.load(folder, wrong)


def test_a_program_for_batches_only_is_refused(tmp_path):
    folder, runtime = kept(tmp_path, exported(Sum(), (torch.zeros(5, 2),), {"x": {0: torch.export.Dim("b", min=4)}}))
    with pytest.raises(SignatureError, match="takes 4 rows or more"):
        runtime.load(folder, SUM)


def test_a_program_of_one_batch_size_says_so(tmp_path):
    folder, runtime = kept(tmp_path, exported(Sum(), (torch.zeros(3, 2),), None))
    assert declared(folder).tensors == (Tensor("x", "float32", (3, 2)),)
    with pytest.raises(SignatureError, match="does not take a row"):
        runtime.load(folder, SUM)


def rebuilt(content, change):
    """The archive with one entry changed; the rest byte for byte."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(buffer, "w") as target:
        for name in source.namelist():
            target.writestr(name, change(name, source.read(name)))
    return buffer.getvalue()


class Touches:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("kind", ["target", "size", "guard", "sample"])
def test_a_hostile_program_touches_nothing_in_its_worker_either(tmp_path, kind):
    """Each of these runs when PyTorch loads the file; here the last two are left out and the others refused."""
    touched = tmp_path / "touched"
    code = f"__import__('os').system('touch {touched}')"

    def change(name, content):
        if kind == "sample" and name.endswith("sample_inputs/model.pt"):
            return pickle.dumps(Touches(touched))
        if not name.endswith("models/model.json"):
            return content
        program = json.loads(content)
        if kind == "target":
            node = program["graph_module"]["graph"]["nodes"][0]
            node["target"] = "torch.os.system"
            node["inputs"] = [{"name": "", "arg": {"as_string": f"touch {touched}"}, "kind": 1}]
        if kind == "size":
            program["graph_module"]["graph"]["tensor_values"]["x"]["sizes"][0]["as_expr"]["expr_str"] = code
        if kind == "guard":
            program["guards_code"] = [code]
        return json.dumps(program).encode()

    content = rebuilt(exported(Sum(), (torch.zeros(3, 2),), {"x": {0: BATCH}}), change)
    folder, runtime = kept(tmp_path, content)
    if kind == "guard":
        runtime.load(folder, SUM).close()
    else:
        with pytest.raises(Refused):
            runtime.load(folder, SUM)
    assert not touched.exists()


@pytest.mark.parametrize("kind", ["torch", "torchscript"])
def test_a_model_is_imported_deployed_and_answers_over_http(tmp_path, monkeypatch, kind):
    """By the command line alone; both through the Open Inference Protocol and TensorFlow Serving's."""
    monkeypatch.chdir(tmp_path)
    rows, due = [[1.0, 2.0], [3.0, -4.0]], [[5.0], [-5.0]]
    content = exported(Sum(), (torch.zeros(3, 2),), {"x": {0: BATCH}}) if kind == "torch" else scripted(Sum())
    Path("any.bin").write_bytes(content)
    Path("headrace.toml").write_text(
        '[endpoint.sum]\nschedule = [{model = "sum@1", wait_ms = 3000}]\ndeadline_ms = 4000\n'
    )
    example = {"tensors": {"x": rows}, "outputs": {"output": due}}
    stated = Signature("tensor", (Tensor("x", "float32", (-1, 2)),), (Tensor("output", "float32", (-1, 1)),)).to_json()
    more = ["--signature", json.dumps(stated)] if kind == "torchscript" else []
    asked = ["--name", "sum", "--licence", "MIT", "--example", json.dumps(example), *more]
    assert f"sum@1 registered: {kind}, 2 rows answered alike" in headrace("models", "import", "any.bin", *asked)
    headrace("serving", "deploy", "sum")
    command = [sys.executable, "-m", "headrace.gateway", "--root", str(tmp_path), "--port", "0", "--endpoint", "sum"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as gateway:
        address = re.search(r"http://127\.0\.0\.1:\d+", gateway.stdout.readline()).group()
        client = Client(address)
        client.wait_ready(60)
        client.close()
        tensor = {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": rows}
        (output,) = posted(f"{address}/v2/models/sum/infer", {"inputs": [tensor]})["outputs"]
        assert (output["name"], output["shape"], output["data"]) == ("output", [2, 1], [5.0, -5.0])
        assert posted(f"{address}/v1/models/sum:predict", {"instances": rows})["predictions"] == due
        gateway.terminate()
        assert gateway.wait(15) == 0


class Writes(nn.Module):
    def __init__(self, path: str):
        super().__init__()
        self.path = path

    def forward(self, x):
        torch.save(x, self.path)
        return x[:, 0]


def test_a_script_that_writes_files_is_refused(tmp_path):
    folder, runtime = kept(tmp_path, scripted(Writes(str(tmp_path / "touched"))))
    with pytest.raises(Refused, match="does more than compute"):
        runtime.load(folder, SUM)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("kind", [{}, {"_use_new_zipfile_serialization": False}])
def test_weights_and_whole_modules_in_a_pickle_are_refused(kind):
    for saved in (Sum(), Sum().state_dict()):
        buffer = io.BytesIO()
        torch.save(saved, buffer, **kind)
        with pytest.raises(Refused, match="runs code"):
            sniffed(buffer.getvalue())
