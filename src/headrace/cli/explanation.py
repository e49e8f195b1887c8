"""How an explained prediction reads on a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from headrace.cli.output import aligned


def lines(told: Mapping[str, Any]) -> Iterator[str]:
    """Lines for ``journey.explain``'s answer: input, answer, scores, model, data, steps."""
    yield f"prediction {told['id']} of endpoint {told['endpoint']}"
    if told["event_time"]:
        yield f"asked      {', '.join(map(str, told['event_time']))}"
    yield f"input      {', '.join(f'{name}={_cell(values)}' for name, values in told['input'].items())}"
    answer = ", ".join(f"{name} {_cell(values)}" for name, values in told["answer"].items())
    yield f"answer     {answer} from {told['winner']} after {told['elapsed_ms']:.1f} ms"
    yield f"because    {told['reason']}"
    yield ""
    rows = [
        {"scorer": s["model"], "state": s["state"], "score": _score(s), "ms": round(s["elapsed_ms"], 3)}
        for s in told["scores"]
    ]
    yield from aligned(rows, ["scorer", "state", "score", "ms"])
    yield ""
    yield from _model(told["model"])


def _model(model: Mapping[str, Any] | None) -> Iterator[str]:
    if model is None:
        yield "model      none answered"
        return
    licence = f", licence {model['licence']}" if model["licence"] else ""
    yield f"model      {model['name']}@{model['version']}, artifact {model['digest'][:16]}{licence}"
    if "registered" in model:
        yield f"folder     {model['folder']}"
        yield f"registered {model['registered'] or 'nothing equal, so where it comes from is not known'}"
        if not model["registered"]:
            return
    yield f"commit     {model['commit'] or 'none: the project is not under git'}"
    for name, digest in model["datasets"].items():
        yield f"dataset    {name} {digest[:16]}"
    for name, key in model["steps"].items():
        yield f"step       {name:<20} {key[:16]}"


def _score(score: Mapping[str, Any]) -> str:
    return score["error"] or ", ".join(f"{name} {_cell(values)}" for name, values in score["outputs"].items())


def _cell(values: Any) -> str:
    shown = [f"{v:.5g}" if isinstance(v, float) else str(v) for v in values]
    return shown[0] if len(shown) == 1 else f"[{', '.join(shown)}]"
