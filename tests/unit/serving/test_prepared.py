"""A deployment made ready to score: what its models have in common decides what is made for them."""

from dataclasses import replace

import numpy as np
import pytest
from served import ROW, Gated, constant, endpoint, model


@pytest.mark.parametrize(
    ("formats", "due"),
    [(("onnx", "xgboost"), np.float32), (("onnx", "lightgbm"), np.float64), (("python", "python"), np.float64)],
)
def test_numbers_are_made_wide_where_a_model_takes_them_so(tmp_path, formats, due):
    seen = []

    def scored(batch):
        seen.append(batch["numbers"].dtype)
        return constant(1.0)(batch)

    models = {}
    for number, format_ in enumerate(formats, 1):
        made = model(f"wine@{number}", scored, fast=True)
        models[made.name] = replace(made, version=replace(made.version, format=format_))
    gate = Gated(tmp_path)
    try:
        gate.flip(endpoint(("wine@1", 1.0), ("wine@2", 2.0), deadline_s=3.0), models)
        assert gate.client.predict("wine", rows=[ROW]).values == [1.0]
    finally:
        gate.close()
    assert seen == [due, due]
