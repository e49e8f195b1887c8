"""How an explained prediction reads on a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from headrace.cli.output import aligned, tame

_HOPS = ("queued", "started", "in worker", "scored", "returned")


def lines(told: Mapping[str, Any]) -> Iterator[str]:
    """Lines for ``journey.explain``'s answer: input, answer, scores, model, data, steps."""
    yield f"prediction {told['id']} of endpoint {told['endpoint']}"
    if told["event_time"]:
        yield f"asked      {', '.join(map(str, told['event_time']))}"
    if told["signature"]:
        yield f"signature  {told['signature']}"
    if told["params"]:
        yield f"params     {', '.join(f'{name}={tame(str(value))}' for name, value in told['params'].items())}"
    yield f"input      {', '.join(f'{name}={_cell(values)}' for name, values in told['input'].items())}"
    for joined in told["joined"]:
        values = ", ".join(f"{name}={_cell(cells)}" for name, cells in joined["values"].items())
        made = f" made of {joined['dataset']} {joined['dataset_digest'][:16]}" if "dataset" in joined else ""
        yield f"joined     {values} from view {joined['view']} {joined['version'][:16]}{made}"
    if told["masked"]:
        yield f"masked     {', '.join(told['masked'])}: hashes are shown, nothing else was kept"
    answer = ", ".join(f"{name} {_cell(values)}" for name, values in told["answer"].items())
    yield f"answer     {answer} from {told['winner']} after {told['elapsed_ms']:.1f} ms"
    yield f"because    {tame(told['reason'])}"
    if "at" in told["deployment"]:
        yield f"deployment {_deployment(told['deployment'])}"
    yield ""
    rows = [
        {"scorer": s["model"], "state": s["state"], "score": _score(s), **_hops(s["hops_ms"]), "by": s["worker"]}
        for s in told["scores"]
    ]
    by = ["by"] if any(s["worker"] for s in told["scores"]) else []
    yield from aligned(rows, ["scorer", "state", "score", *_HOPS, *by])
    yield "           in ms after the request was received"
    yield ""
    yield from _model(told["model"])


def _deployment(told: Mapping[str, Any]) -> str:
    """What was in force: the schedule, who deployed it and why."""
    schedule = ", ".join(f"{told['models'][p['model']]} {p['wait_ms']:g} ms" for p in told["schedule"])
    why = f": {told['why']}" if told["why"] else ""
    return f"{told['seq']}, {schedule}, by {told['who'] or 'nobody'}{why}"


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


def _hops(hops_ms: Mapping[str, float]) -> dict[str, Any]:
    """Moments as columns; of a model in a process of its own, how long it was at work there."""
    shown: dict[str, Any] = {name: f"{hops_ms[name]:.3f}" if name in hops_ms else "" for name in _HOPS}
    if "worker_started" in hops_ms and "worker_scored" in hops_ms:
        shown["in worker"] = f"{hops_ms['worker_scored'] - hops_ms['worker_started']:.3f}"
    return shown


def _score(score: Mapping[str, Any]) -> str:
    return score["error"] or ", ".join(f"{name} {_cell(values)}" for name, values in score["outputs"].items())


def _cell(values: Any) -> str:
    shown = [f"{v:.5g}" if isinstance(v, float) else tame(str(v)) for v in values]
    return shown[0] if len(shown) == 1 else f"[{', '.join(shown)}]"
