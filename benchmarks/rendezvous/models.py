"""What is served: three digits models behind one endpoint, and a slow model before two fast ones behind another."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import polars as pl
from benchmarks.serving.models import Served
from skl2onnx import to_onnx
from skl2onnx.helpers.onnx_helper import select_model_inputs_outputs
from sklearn.datasets import load_digits
from sklearn.linear_model import LinearRegression, LogisticRegression

import headrace as hr
from headrace.assembly import open_platform
from headrace.delivery.deploy import deploy
from headrace.journey.platform import Platform
from headrace.models.artifact import Artifact
from headrace.models.registry import Registration, register
from headrace.sdk.functions import serve_function
from headrace.serving.endpoint import Endpoint, Preference
from headrace.settings import load_settings

DEADLINE_S = 0.05
ROWS = 20
ROW = {"a": 1.0, "b": 2.0}


def made(folder: Path) -> Served:
    """Train, register, and deploy ``one``, ``three`` and ``slow`` in ``folder / "project"``; what digits answers."""
    root = folder / "project"
    root.mkdir()
    (root / "headrace.toml").write_text("")
    platform = open_platform(load_settings(root))
    try:
        served = _digits(folder, platform)
        _slow(platform)
        first, *others = (Preference(f"digits@{number}", 1.0) for number in (1, 2, 3))
        deploy(platform.ledger(), Endpoint("one", (first,), 2.0), who="benchmark")
        deploy(platform.ledger(), Endpoint("three", (first, *others), 2.0), who="benchmark")
    finally:
        platform.close()
    return served


def slept(a: Any, b: Any) -> Any:
    """Right, and ten times too late."""
    time.sleep(0.5)
    return a + b


def _digits(folder: Path, platform: Platform) -> Served:
    data = load_digits()
    pixels = (data.data / 16).astype(np.float32)
    first: Served | None = None
    for strength in (1.0, 0.5, 0.1):
        model = LogisticRegression(C=strength, max_iter=300).fit(pixels, data.target)
        graph = to_onnx(model, pixels[:1], options={"zipmap": False}, target_opset=17)
        graph = select_model_inputs_outputs(graph, outputs=["probabilities"])
        path = folder / f"digits-{strength}.onnx"
        path.write_bytes(graph.SerializeToString())
        session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        taken, example = session.get_inputs()[0].name, pixels[:ROWS]
        answers = session.run(None, {taken: example})[0]
        artifact = Artifact("onnx", {"model.onnx": path.read_bytes()}, (taken,), ("probabilities",))
        asked = Registration("digits", {taken: example}, "BSD-3-Clause", answers={"probabilities": answers})
        register(platform.stores(), artifact, asked)
        first = first or Served(path, example.tolist(), answers.tolist(), taken)
    assert first is not None
    return first


def _slow(platform: Platform) -> None:
    """An endpoint that prefers a model which answers after 500 ms, then two that are fast."""
    rows = pl.DataFrame({"a": np.linspace(0, 1, 50), "b": np.linspace(1, 3, 50)})
    asked = {"example": rows.head(5), "licence": "CC0-1.0"}
    slow = serve_function(slept, outputs=("y",))
    references = [str(register(platform.stores(), slow, Registration(name="slow", **asked)))]
    for name, scale in (("fast", 1.0), ("plain", 0.5)):
        model = LinearRegression().fit(rows.to_numpy(), rows.sum_horizontal().to_numpy() * scale)
        artifact = hr.optimize(model, to="onnx", on=rows, output="y")
        references.append(str(register(platform.stores(), artifact, Registration(name=name, **asked))))
    schedule = tuple(Preference(r, wait_s) for r, wait_s in zip(references, (0.02, 0.04, 0.045), strict=True))
    deploy(platform.ledger(), Endpoint("slow", schedule, DEADLINE_S, {"y": -1.0}), who="benchmark")
