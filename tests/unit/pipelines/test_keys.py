"""What is said about two keys that differ."""

import pytest

from headrace.pipelines.keys import call_parts, changes

STEP = {"$step": "pipeline:train", "parts": {"code": {"train": "a" * 64, "note": "b" * 64}, "packages": {"x": "1"}}}


def _step(reference="pipeline:train", **parts):
    return {"$step": reference, "parts": {**STEP["parts"], **parts}}


@pytest.mark.parametrize(
    ("now", "due"),
    [
        (STEP, []),
        (_step(code={"train": "c" * 64}), ["the code of step train changed"]),
        (_step(packages={"x": "2"}), ["the packages or environment variables of step train changed"]),
        (_step("pipeline:fit"), ["parameter train changed from step pipeline:train to step pipeline:fit"]),
        (3, ["parameter train changed from step pipeline:train to 3"]),
        ("x" * 300, ["parameter train changed"]),
    ],
)
def test_a_step_that_is_a_parameter(now, due):
    assert changes(call_parts({}, {"train": STEP}), call_parts({}, {"train": now})) == due
