"""What is served: three digits models behind one endpoint, and a slow model before two fast ones behind another."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from benchmarks.serving.models import Served, registered_digits
from sklearn.linear_model import LinearRegression

import headrace as hr
from headrace.assembly import open_platform
from headrace.delivery.deploy import deploy
from headrace.journey.platform import Platform
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
        served, *_ = [registered_digits(folder, platform, strength)[0] for strength in (1.0, 0.5, 0.1)]
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
