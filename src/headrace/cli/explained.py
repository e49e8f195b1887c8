"""An explanation of a prediction as lines for people."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_DIGEST = 12
_LISTED = 6
_ROOM = 12


def lines(told: Mapping[str, Any]) -> Iterator[str]:
    """What ``journey.explain`` found, on a screenful."""
    yield _line("prediction", f"{told['id']} of {told['endpoint']}, {_when(told['at_ms'] / 1000)}")
    if told["event_time"]:
        yield _line("event time", _some(told["event_time"]))
    for name, values in told["input"].items():
        yield _line("input", f"{name} = {_some(values)}")
    for name, values in told["answer"].items():
        yield _line("answer", f"{name} = {_some(values)}")
    yield _line("by", f"{told['winner']} after {told['elapsed_ms']:.1f} ms: {told['reason']}")
    for score in told["scores"]:
        yield _line("score", _score(score))
    if told["model"] is not None:
        yield from _model(told["model"])
    yield _line("deployed", _deployment(told["deployment"]))


def _score(score: Mapping[str, Any]) -> str:
    found = ", ".join(_some(values) for values in score["outputs"].values()) or score["error"]
    return f"{score['model']:<24} {score['state'].replace('_', ' '):<8} {score['elapsed_ms']:6.1f} ms  {found}"


def _model(model: Mapping[str, Any]) -> Iterator[str]:
    about = [f"digest {model['digest'][:_DIGEST]}", f"commit {model['commit'][:_DIGEST] or 'none'}"]
    yield _line("model", f"{model['name']}@{model['version']}, {', '.join(about)}, run {model['run'] or 'none'}")
    metrics = ", ".join(f"{name} {value:.4g}" for name, value in model["metrics"].items())
    yield from ([_line("metrics", metrics)] if metrics else [])
    for name, digest in model["datasets"].items():
        yield _line("dataset", f"{name}, digest {digest[:_DIGEST]}")
    for name, key in model["steps"].items():
        yield _line("step", f"{name}, key {key[:_DIGEST]}")


def _deployment(deployment: Mapping[str, Any]) -> str:
    said = f"number {deployment['seq']}"
    if "at" in deployment:
        said += f", {_when(deployment['at'])}, by {deployment.get('who') or 'nobody named'}"
        said += f": {deployment['why']}" if deployment.get("why") else ""
    gates = deployment.get("gates")
    return f"{said}, gates {', '.join(gates)}" if gates else said


def _line(label: str, text: str) -> str:
    return f"{label:<{_ROOM}}{text}"


def _some(values: Sequence[Any]) -> str:
    shown = ", ".join(f"{v:.6g}" if isinstance(v, float) else str(v) for v in values[:_LISTED])
    return f"{shown} and {len(values) - _LISTED} more" if len(values) > _LISTED else shown


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
