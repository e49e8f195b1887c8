"""What serving tests share: models that are plain functions, tiny ONNX models, and a gateway in a thread.

A function as a model exists for tests only: it is how a scorer is made to sleep, raise or answer NaN.
"""

import asyncio
import json
import threading
import time
from contextlib import contextmanager

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from headrace.client import Client
from headrace.engines.local.stream import LocalStream
from headrace.engines.sqlite.online import SqliteOnline
from headrace.gateway.app import Gateway
from headrace.gateway.http import Server
from headrace.models.artifact import Artifact
from headrace.models.signature import Column, Signature
from headrace.models.version import ModelVersion
from headrace.serving.dataplane import DataPlane
from headrace.serving.deployment import Deployment
from headrace.serving.desk import Desks
from headrace.serving.endpoint import Endpoint, Preference
from headrace.serving.log import RequestLog
from headrace.serving.lookups import Lookups
from headrace.serving.versions import Model

WINE = Signature(
    "table",
    (
        Column("alcohol", "float64"),
        Column("grape", "string"),
        Column("year", "int64"),
        Column("ph", "float64", nullable=True),
        Column("organic", "bool"),
    ),
    (Column("quality", "float32"),),
)
ROW = {"alcohol": 12.5, "grape": "riesling", "year": 2019, "ph": 3.5, "organic": True}


def linear(batch):
    """alcohol + 10 ph (null counts 0) + 100 for riesling."""
    numbers, strings = batch["numbers"], batch["strings"]
    quality = numbers[:, 0] + 10 * np.nan_to_num(numbers[:, 2]) + 100 * (strings[:, 0] == "riesling")
    return {"quality": quality.astype(np.float32)}


def constant(value):
    """A model that always answers ``value``."""
    return lambda batch: {"quality": np.full(len(batch["numbers"]), value, np.float32)}


def until(condition):
    """Wait until it holds, ten seconds at most."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < 10
        time.sleep(0.001)


class Held:
    """A model that scores only once it may, and counts what it was given."""

    def __init__(self, value=1.0):
        self.go, self.seen, self._value = threading.Event(), 0, value

    def __call__(self, batch):
        self.seen += len(batch["numbers"])
        assert self.go.wait(20)
        return constant(self._value)(batch)


class Function:
    """A loaded model that is a plain function."""

    def __init__(self, function):
        self.score = function
        self.closed = False

    def close(self):
        self.closed = True


def model(reference, function, *, fast=False, signature=WINE):
    """A model ready to score, as ``versions.load_model`` would have made it."""
    name, _, number = reference.partition("@")
    version = ModelVersion(name, int(number), "00", signature, "python")
    return Model(version, Function(function), 0.0 if fast else 1.0, 0, {})


def endpoint(*schedule, deadline_s=0.05, default=5.0, **more):
    """The endpoint ``wine`` with ``(reference, wait_s)`` preferences."""
    preferences = tuple(Preference(reference, wait_s) for reference, wait_s in schedule)
    return Endpoint("wine", preferences, deadline_s, {"quality": default}, **more)


class Gated:
    """A gateway in a thread of this process, and workers over ``exchange``; ``how`` is the ``Gateway``'s."""

    def __init__(self, folder, names=("wine",), exchange=None, **how):
        self.stream, self._exchange = LocalStream(folder), exchange
        self.log = RequestLog(self.stream, "wine")
        self.online = SqliteOnline(folder / "online")
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.plane = self.call(self._plane(names))
        gateway = Gateway(self.plane, **how)
        self.server = Server(gateway, self.loop, shown=gateway.shown)
        self.port = self.call(self.server.listen("127.0.0.1", 0))
        self.client = Client(f"http://127.0.0.1:{self.port}")
        self._seq = 0

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    async def _plane(self, names):
        self.desks = self._exchange and Desks(self._exchange, self.loop)
        lookups = Lookups(lambda: self.online, self.loop.call_soon_threadsafe)
        return DataPlane(self.stream, self.loop, names, lambda: b"k" * 32, self.desks, lookups=lookups)

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    def flip(self, deployed, models, canary=None):
        """Serve ``deployed`` with each of its references' models; returns what is set when those before are drained."""
        self._seq += 1
        named = {reference: models[reference] for reference in deployed.models}
        record = Deployment(deployed, {r: str(m.version) for r, m in named.items()}, canary=canary, seq=self._seq)
        drained = threading.Event()

        async def flip():
            self.plane.flip(record, {m.name: m for m in named.values()}, drained.set)

        self.call(flip())
        until(lambda: all(log.opened for log in self.plane.logs.values()))
        return drained

    def close(self):
        self.client.close()

        async def close():
            await self.server.finish()
            await self.plane.close()
            self.server.close()
            await asyncio.sleep(0)

        self.call(close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()
        self.stream.close()
        self.online.close()


@contextmanager
def gated(folder, deployed=None, models=None, **how):
    """A gateway that serves ``deployed``, closed at the end."""
    found = Gated(folder, **how)
    try:
        if deployed is not None:
            found.flip(deployed, models)
        yield found
    finally:
        found.close()


def onnx_linear(weights, bias=0.0, output="quality"):
    """Bytes of an ONNX model: weighted sum of the numeric columns plus ``bias``."""
    nodes = [
        helper.make_node("MatMul", ["numbers", "weights"], ["products"]),
        helper.make_node("Add", ["products", "bias"], ["column"]),
        helper.make_node("Squeeze", ["column", "axis"], [output]),
    ]
    constants = [
        numpy_helper.from_array(np.array(weights, np.float32)[:, None], "weights"),
        numpy_helper.from_array(np.array([bias], np.float32), "bias"),
        numpy_helper.from_array(np.array([1]), "axis"),
    ]
    taken = [helper.make_tensor_value_info("numbers", TensorProto.FLOAT, [None, len(weights)])]
    given = [helper.make_tensor_value_info(output, TensorProto.FLOAT, [None])]
    graph = helper.make_graph(nodes, "linear", taken, given, constants)
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()


def onnx_artifact(columns, weights, bias=0.0, *, claimed=0.0):
    """An artifact with recorded examples; ``claimed`` is added to the recorded answers (0 = they are right)."""
    rows = zip(*columns.values(), strict=True)
    answers = [sum(w * v for w, v in zip(weights, row, strict=True)) + bias + claimed for row in rows]
    examples = {"columns": columns, "outputs": {"quality": answers}, "tolerance": 1e-3}
    files = {"model.onnx": onnx_linear(weights, bias), "examples.json": json.dumps(examples).encode()}
    return Artifact("onnx", files, tuple(columns), ("quality",))
