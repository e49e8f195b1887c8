"""What Prometheus reads, under every server's names, read by its own parser; and that the numbers are true."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from served import ROW, Held, constant, endpoint, gated, linear, model, until

from headrace.gateway.metrics.exposition import Buckets, Family, page
from headrace.serving.canary import Canary
from headrace.serving.endpoint import Batching
from headrace.serving.split import Split

NAMES = ("headrace", "tensorflow", "triton")
PAGE = (Path(__file__).parents[3] / "docs/reference/protocols.md").read_text("utf-8")


def read(gate, path="/metrics"):
    reply = gate.client.request("GET", path)
    assert reply.status == 200
    assert reply.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    text = reply.body.decode()
    families = list(text_string_to_metric_families(text))
    for family in families:  # the parser gives every counter the suffix of headrace's own; others have none
        if f"# TYPE {family.name} counter" in text:
            family.samples = [s._replace(name=s.name.removesuffix("_total")) for s in family.samples]
    return families


def samples(gate):
    """Every sample by its name and labels."""
    found = [sample for family in read(gate) for sample in family.samples]
    by_key = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in found}
    assert len(by_key) == len(found), "no sample is there twice"
    return by_key


def value(gate, name, **labels):
    return samples(gate)[name, frozenset(labels.items())]


@pytest.fixture
def busy(tmp_path):
    """A gateway that has answered, refused, and let the default answer."""
    deployed = endpoint(("wine@3", 2.0), ("plain@1", 2.5), deadline_s=3.0)
    models = {"wine@3": model("wine@3", linear, fast=True), "plain@1": model("plain@1", constant(1.0))}
    with gated(tmp_path, deployed, models, metrics=NAMES) as gate:
        for rows in (1, 2, 70):
            gate.client.predict("wine", rows=[ROW] * rows)
        gate.client.raw("wine", b"{}")
        until(lambda: gate.plane.counters["wine"].scorers["plain@1"].calls.rows == 73)
        yield gate


def test_a_parser_reads_it_and_every_metric_says_what_it_is(busy):
    families = read(busy)
    assert {family.name.split("_")[0].split(":")[0] for family in families} == {"headrace", "process", "", "nv"}
    for family in families:
        assert family.documentation, family.name
        assert family.type in {"counter", "gauge", "histogram"}, family.name
        assert family.samples, family.name
        exported = {re.sub("_(bucket|sum|count)$", "", s.name) if family.type == "histogram" else s.name
                    for s in family.samples}  # fmt: skip
        (name,) = exported
        assert f"| `{name}` |" in PAGE, "documented"
        if name.startswith("headrace"):
            unit = {"counter": "_total", "histogram": "_seconds", "gauge": ""}[family.type]
            assert name.endswith(unit)
        assert all(s.value >= 0 for s in family.samples)


def test_histograms_are_consistent(busy):
    found = samples(busy)
    histograms = [family for family in read(busy) if family.type == "histogram"]
    assert {"headrace_request_duration_seconds", ":tensorflow:serving:request_latency"} <= {h.name for h in histograms}
    for family in histograms:
        series = {frozenset((k, v) for k, v in s.labels.items() if k != "le") for s in family.samples}
        for labels in series:
            buckets = [(float(dict(key)["le"]), count) for (name, key), count in found.items()
                       if name == f"{family.name}_bucket" and labels < key]  # fmt: skip
            assert buckets[-1][0] == float("inf")
            assert all(a < b and m <= n for (a, m), (b, n) in pairwise(buckets))
            count, total = found[f"{family.name}_count", labels], found[f"{family.name}_sum", labels]
            assert buckets[-1][1] == count
            least = sum(low * (n - m) for (low, m), (_, n) in pairwise(buckets))
            assert total >= least
    seconds = value(busy, "headrace_request_duration_seconds_sum", endpoint="wine")
    assert value(busy, ":tensorflow:serving:request_latency_sum", model_name="wine") == pytest.approx(seconds * 1e6)


def test_the_process_is_told_as_the_system_knows_it(busy):
    before, lines = samples(busy), Path("/proc/self/status").read_text().splitlines()
    told = {line.partition(":")[0]: line.split()[1] for line in lines if line.endswith("kB")}

    def number(found, name):
        return found[f"process_{name}", frozenset()]

    assert number(before, "resident_memory_bytes") == pytest.approx(int(told["VmRSS"]) * 1024, rel=0.2)
    assert number(before, "virtual_memory_bytes") == pytest.approx(int(told["VmSize"]) * 1024, rel=0.2)
    assert number(before, "cpu_seconds_total") == pytest.approx(time.process_time(), abs=1, rel=0.1)
    started = time.time() - number(before, "start_time_seconds")
    assert 0 < started < 24 * 3600
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(Path(__file__).open())
        more = samples(busy)
    # Other threads of this process open and close some meanwhile.
    assert number(more, "open_fds") - number(before, "open_fds") == pytest.approx(100, abs=20)
    assert number(more, "open_fds") < number(more, "max_fds")


def test_labels_may_hold_anything():
    odd = {"endpoint": 'a "b" \\ c\nd', "model": "é{}=,"}
    families = [
        Family("odd_total", "Odd.", "counter", [(odd, 3)]),
        Family("odd_seconds", "Odd.", "histogram", [(odd, Buckets((0.5,), (1, 2), 1.75))]),
    ]
    counter, histogram = text_string_to_metric_families(page(families))
    assert (counter.samples[0].labels, counter.samples[0].value) == (odd, 3)
    assert [s.labels for s in histogram.samples if s.name == "odd_seconds_bucket"] == [
        {**odd, "le": "0.5"},
        {**odd, "le": "+Inf"},
    ]
    assert [s.value for s in histogram.samples] == [1, 2, 1.75, 2]


def test_no_counter_falls_when_models_are_swapped(tmp_path):
    with gated(tmp_path, metrics=NAMES) as gate:
        before = {}
        for number in (1, 2, 3, 1):
            name = f"wine@{number}"
            gate.flip(endpoint((name, 2.0), deadline_s=3.0), {name: model(name, linear, fast=number != 2)}).wait(10)
            for rows in range(1, 4):
                assert gate.client.predict("wine", rows=[ROW] * rows).winner == name
            gate.client.raw("wine", b"{}")
            gauges = {s.name for family in read(gate) if family.type == "gauge" for s in family.samples}
            after = {key: found for key, found in samples(gate).items() if key[0] not in gauges}
            assert before.keys() <= after.keys()
            assert [key for key in before if after[key] < before[key]] == []
            assert after["nv_inference_count", frozenset({"model": "wine", "version": str(number)}.items())] >= 6
            before = after
        assert value(gate, ":tensorflow:serving:request_count", model_name="wine", status="OK") == 12
        assert value(gate, "nv_inference_request_success", model="wine", version="1") == 6


@contextmanager
def held(folder, **more):
    """A gateway whose first call of a model is held until it may go on, and a pool that asks it."""
    deployed = endpoint(("wine@1", 20.0), deadline_s=30.0, **more)
    slow = Held()
    serving = gated(folder, deployed, {"wine@1": model("wine@1", slow)}, metrics=NAMES)
    with serving as gate, ThreadPoolExecutor(8) as pool:

        def ask(rows):
            return pool.submit(gate.client.predict, "wine", rows=[ROW] * rows)

        try:
            first = ask(1)
            until(lambda: slow.seen == 1)
            yield gate, slow, ask, first
        finally:
            slow.go.set()


def test_batches_and_waits_are_what_happened(tmp_path):
    with held(tmp_path) as (gate, slow, ask, first):
        triton = {"model": "wine", "version": "1"}
        answers = [first, *(ask(rows) for rows in (1, 2, 2))]
        scorer = gate.plane.live("wine").scorers[0]
        until(lambda: scorer.waiting == 3)
        assert value(gate, "nv_inference_pending_request_count", **triton) == 3
        assert value(gate, "headrace_waiting_requests", endpoint="wine", model="wine@1") == 3
        assert value(gate, "nv_inference_exec_count", **triton) == 0
        slow.go.set()
        assert [answer.result(10).winner for answer in answers] == ["wine@1"] * 4
        told = samples(gate)

        def number(name, **labels):
            return told[name, frozenset(labels.items())]

        assert number("nv_inference_pending_request_count", **triton) == 0
        assert number("nv_inference_exec_count", **triton) == 2
        assert number("nv_inference_count", **triton) == 6
        assert number("nv_inference_request_success", **triton) == 4
        parts = ("queue", "compute_input", "compute_infer", "compute_output")
        spent = {part: number(f"nv_inference_{part}_duration_us", **triton) for part in parts}
        whole = number("nv_inference_request_duration_us", **triton)
        assert spent["queue"] > 0
        # Where the time of the requests went: what is left are moments between threads.
        assert whole * 0.5 < sum(spent.values()) <= whole + len(spent)
        assert number(":tensorflow:core:graph_runs") == 2
        assert number("headrace_model_calls_total", endpoint="wine", model="wine@1") == 2
        model_s = number("headrace_model_seconds_total", endpoint="wine", model="wine@1", part="model")
        assert model_s * 1e6 <= spent["compute_infer"] + 1, "a call of three requests counts thrice there"
        row = json.loads(gate.client.request("GET", "/v2/models/wine/stats").body)["model_stats"][0]
        assert [(one["batch_size"], one["compute_infer"]["count"]) for one in row["batch_stats"]] == [(1, 1), (5, 1)]
        assert row["inference_stats"]["queue"] == {
            "count": 4,
            "ns": round(gate.plane.counters["wine"].scorers["wine@1"].calls.queued_s * 1e9),
        }
        assert sum(one["compute_infer"]["ns"] for one in row["batch_stats"]) == pytest.approx(model_s * 1e9, abs=2)


def test_failures_have_their_reasons(tmp_path):
    small = Batching(max_batch_rows=1, max_queue_rows=2)
    with held(tmp_path, batching=small) as (gate, slow, ask, first):
        answers = [first, ask(1), ask(1)]
        until(lambda: gate.plane.live("wine").scorers[0].waiting == 2)
        assert gate.client.raw("wine", json.dumps({"instances": [ROW]}).encode()).status == 429
        slow.go.set()
        assert all(answer.result(10) for answer in answers)
        assert value(gate, ":tensorflow:serving:request_count", model_name="wine", status="RESOURCE_EXHAUSTED") == 1
    broken = endpoint(("wine@1", 2.0), deadline_s=3.0, default=None)
    object.__setattr__(broken, "default", {})
    with gated(tmp_path / "broken", broken, {"wine@1": model("wine@1", lambda _: 1 / 0)}, metrics=NAMES) as gate:
        assert gate.client.raw("wine", json.dumps({"instances": [ROW]}).encode()).status == 500
        reasons = {reason: value(gate, "nv_inference_request_failure", model="wine", version="1", reason=reason)
                   for reason in ("REJECTED", "CANCELED", "BACKEND", "OTHER")}  # fmt: skip
        assert reasons == {"REJECTED": 0, "CANCELED": 0, "BACKEND": 1, "OTHER": 0}
        assert value(gate, ":tensorflow:serving:request_count", model_name="wine", status="UNAVAILABLE") == 1
        assert value(gate, ":tensorflow:serving:request_count", model_name="wine", status="OK") == 0
        assert value(gate, "headrace_unanswered_total", endpoint="wine") == 1


def told_of(gate, name):
    found = [sample for family in read(gate) if family.name == name for sample in family.samples]
    assert {family.type for family in read(gate) if family.name == name} <= {"gauge"}
    return {tuple(sorted(sample.labels.items())): sample.value for sample in found}


def test_who_is_preferred_is_told_as_it_changes(tmp_path):
    """Shares come to 1 whatever stands, and a canary's numbers go with it."""
    first, second = ("wine@3", 2.0), ("plain@1", 2.5)
    models = {name: model(name, constant(1.0), fast=True) for name in ("wine@3", "plain@1")}
    wine, plain = ({("endpoint", "wine"), ("model", name)} for name in models)

    def key(labels, **more):
        return tuple(sorted(labels | set(more.items())))

    with gated(tmp_path, endpoint(first, second), models) as gate:
        assert told_of(gate, "headrace_live_info") == {key(wine, deployment="1"): 1}
        assert told_of(gate, "headrace_share_ratio") == {key(wine): 1}
        assert told_of(gate, "headrace_canary_share_ratio") == {}
        gate.flip(endpoint(first, second, split=Split({"plain@1": 0.25})), models)
        assert told_of(gate, "headrace_live_info") == {key(wine, deployment="2"): 1}
        assert told_of(gate, "headrace_share_ratio") == {key(wine): 0.75, key(plain): 0.25}
        assert told_of(gate, "headrace_canary_step") == {}
        canary = Canary("plain@1", (0.1, 0.5, 1.0), 60.0, step=1)
        gate.flip(endpoint(first, second, split=Split({"plain@1": 0.5})), models, canary=canary)
        assert told_of(gate, "headrace_share_ratio") == {key(wine): 0.5, key(plain): 0.5}
        assert told_of(gate, "headrace_canary_share_ratio") == {key(plain): 0.5}
        assert told_of(gate, "headrace_canary_step") == {key(plain): 2}
        families = [family for family in read(gate) if family.name.startswith(("headrace_canary", "headrace_share"))]
        assert all(f"| `{family.name}` |" in PAGE and family.documentation for family in families)
        gate.loop.call_soon_threadsafe(gate.plane.live("wine").draw_no_more)  # a rule holds
        until(lambda: told_of(gate, "headrace_share_ratio") == {key(wine): 1})
        assert told_of(gate, "headrace_canary_share_ratio") == {}
        gate.flip(endpoint(second, first), models)
        assert told_of(gate, "headrace_live_info") == {key(plain, deployment="4"): 1}


def test_names_are_those_asked_for(tmp_path):
    with gated(tmp_path / "own") as gate:
        assert {family.name.split("_")[0] for family in read(gate)} == {"headrace", "process"}
        assert gate.client.request("GET", "/monitoring/prometheus/metrics").status == 404
    with gated(tmp_path / "theirs", metrics=("triton", "tensorflow")) as gate:
        assert {family.name[:3] for family in read(gate)} == {"nv_", ":te"}
        assert {family.name[:3] for family in read(gate, "/monitoring/prometheus/metrics")} == {":te"}
        assert gate.client.request("POST", "/metrics").status == 405
