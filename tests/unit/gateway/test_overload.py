"""More requests than may wait are refused at the door, and callers that go free their place."""

import asyncio
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest
from rpc_served import rpc_channel
from served import ROW, WINE, Held, constant, endpoint, gated, model, until

from headrace.client import Client
from headrace.errors import Overloaded
from headrace.gateway.rpc.messages import INFERENCE
from headrace.serving.endpoint import Batching
from headrace.serving.outcome import SHED

SMALL = Batching(max_batch_rows=1, max_queue_rows=2)
BODY = json.dumps({"instances": [ROW]}).encode()
TENSORS = [
    {"name": c.name, "shape": [1], "datatype": kind, "data": [ROW[c.name]]}
    for c, kind in zip(WINE.columns, ("FP64", "BYTES", "INT64", "FP64", "BOOL"), strict=True)
]


class Crowd:
    """A gateway whose model ``a@1`` is held, and threads that ask it."""

    def __init__(self, gate, held):
        self.gate, self.held = gate, held
        self.pool = ThreadPoolExecutor(8)
        self.counters = gate.plane.counters["wine"]

    @property
    def scorer(self):
        return self.gate.plane.live("wine").scorers[0]

    def waiting(self):
        lane = self.scorer._lane
        return lane.rows if lane is not None else 0

    def fill(self):
        """One request is scored, two wait; their answers are still to come."""
        first = self.pool.submit(self.gate.client.predict, "wine", rows=[ROW])
        until(lambda: self.held.seen == 1)
        others = [self.pool.submit(self.gate.client.predict, "wine", rows=[ROW]) for _ in range(2)]
        until(lambda: self.waiting() == 2)
        return [first, *others]


@contextmanager
def crowded(folder, *schedule, models=None, **more):
    held = Held()
    deployed = endpoint(*(schedule or [("a@1", 20.0)]), deadline_s=30.0, **{"batching": SMALL} | more)
    with gated(folder, deployed, {"a@1": model("a@1", held)} | (models or {})) as gate:
        crowd = Crowd(gate, held)
        try:
            yield crowd
        finally:
            held.go.set()
            crowd.pool.shutdown()


@contextmanager
def rpc(gate):
    with rpc_channel(gate) as channel:
        yield channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")


def infer_message():
    request = INFERENCE.ModelInferRequest(model_name="wine")
    fields = {"FP64": "fp64_contents", "INT64": "int64_contents", "BYTES": "bytes_contents", "BOOL": "bool_contents"}
    for tensor in TENSORS:
        added = request.inputs.add(name=tensor["name"], datatype=tensor["datatype"], shape=[1])
        (cell,) = tensor["data"]
        cells = [cell.encode() if isinstance(cell, str) else cell]
        getattr(added.contents, fields[tensor["datatype"]]).extend(cells)
    return request.SerializeToString()


@pytest.mark.parametrize(
    ("path", "body", "read"),
    [
        ("/v1/models/wine:predict", BODY, lambda said: said["error"]),
        ("/v1/models/wine/versions/1:predict", BODY, lambda said: said["error"]),
        ("/v2/models/wine/infer", json.dumps({"inputs": TENSORS}).encode(), lambda said: said["error"]),
        ("/invocations", BODY, lambda said: said["error_code"] + said["message"]),
    ],
)
def test_a_full_queue_refuses_at_once_and_says_when_to_try_again(tmp_path, path, body, read):
    with crowded(tmp_path) as crowd:
        accepted = crowd.fill()
        client = Client(f"http://127.0.0.1:{crowd.gate.port}")
        reply = client.request("POST", path, body)
        client.close()
        assert reply.status == 429
        assert "takes no more requests now - max_queue_rows = 2 wait for a@1" in read(json.loads(reply.body))
        assert ("REQUEST_LIMIT_EXCEEDED" in read(json.loads(reply.body))) == (path == "/invocations")
        assert reply.header("retry-after") == "1"
        assert reply.header("x-headrace-id") == ""
        assert crowd.counters.overloaded == 1
        assert crowd.held.seen == 1
        crowd.held.go.set()
        assert [answer.result().winner for answer in accepted] == ["a@1"] * 3
        assert crowd.gate.client.metrics()['headrace_overloaded_total{endpoint="wine"}'] == 1
    assert {p.id for _, p in crowd.gate.log.predictions()} == {answer.result().id for answer in accepted}


def test_parquet_is_refused_too(tmp_path):
    import io

    import polars as pl

    with crowded(tmp_path) as crowd:
        crowd.fill()
        packed = io.BytesIO()
        pl.DataFrame([ROW]).write_parquet(packed)
        client = Client(f"http://127.0.0.1:{crowd.gate.port}")
        kind = {"content-type": "application/vnd.apache.parquet"}
        assert client.request("POST", "/invocations", packed.getvalue(), kind).status == 429
        client.close()
        assert crowd.counters.refused == 0


def test_the_client_raises_what_is_retryable(tmp_path):
    with crowded(tmp_path) as crowd:
        crowd.fill()
        with pytest.raises(Overloaded) as caught:
            crowd.gate.client.predict("wine", rows=[ROW])
        assert (caught.value.retryable, caught.value.retry_after_s) == (True, 1)


def test_grpc_says_resource_exhausted(tmp_path):
    with crowded(tmp_path) as crowd:
        crowd.fill()
        with rpc(crowd.gate) as infer, pytest.raises(grpc.RpcError) as caught:
            infer(infer_message(), timeout=10)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dict(caught.value.trailing_metadata())["grpc-retry-pushback-ms"] == "1000"


def test_the_wait_that_is_advised_grows_with_the_backlog_up_to_the_deadline(tmp_path):
    with crowded(tmp_path) as crowd:
        crowd.fill()
        for usual_s, due in ((2.5, 8), (100.0, 30)):
            crowd.scorer._lane.usual_s = usual_s
            with pytest.raises(Overloaded) as caught:
                crowd.gate.client.predict("wine", rows=[ROW])
            assert caught.value.retry_after_s == due


def test_one_scheduled_model_with_room_is_enough(tmp_path):
    with crowded(
        tmp_path, ("a@1", 0.001), ("b@1", 20.0), models={"b@1": model("b@1", constant(2.0), fast=True)}
    ) as crowd:
        assert [crowd.gate.client.predict("wine", rows=[ROW]).winner for _ in range(9)] == ["b@1"] * 9
        assert crowd.counters.overloaded == 0
        assert crowd.counters.scorers["a@1"].dropped["queue_full"] == 6


def test_shadows_and_the_reference_are_dropped_and_refuse_nobody(tmp_path):
    """They wait in shorter queues: one batch."""
    quick = model("b@1", constant(2.0), fast=True)
    held = {"s@1": model("s@1", Held()), "r@1": model("r@1", Held())}
    with crowded(tmp_path, ("b@1", 20.0), models={"b@1": quick, **held}, shadows=["s@1"], reference="r@1") as crowd:
        for _ in range(5):
            assert crowd.gate.client.predict("wine", rows=[ROW]).winner == "b@1"
            until(lambda: all(m.loaded.score.seen == 1 for m in held.values()))
        for name, shadow in held.items():
            assert crowd.counters.scorers[name].dropped["queue_full"] == 3
            shadow.loaded.score.go.set()
        assert crowd.counters.overloaded == 0


def test_models_that_may_not_answer_do_not_score_while_a_scheduled_one_is_behind(tmp_path):
    others = {name: model(name, constant(2.0), fast=True) for name in ("s@1", "r@1")}
    roomy = Batching(max_batch_rows=1, max_queue_rows=9)
    with crowded(tmp_path, models=others, batching=roomy, shadows=["s@1"], reference="r@1") as crowd:
        live = crowd.gate.plane.live("wine")
        accepted = crowd.fill()  # two wait for a model that takes one a call
        until(lambda: live.shed)
        left_out = crowd.pool.submit(crowd.gate.client.predict, "wine", rows=[ROW])
        until(lambda: crowd.waiting() == 3)
        crowd.held.go.set()
        assert {future.result().winner for future in (*accepted, left_out)} == {"a@1"}
        logged = {score.model: score.error for score in crowd.gate.log.find(left_out.result().id).scores}
        assert logged == {"a@1": "", "s@1": SHED, "r@1": SHED}
        until(lambda: not live.shed)  # it ends by itself
        whole = crowd.gate.client.predict("wine", rows=[ROW])
        assert not any(score.error for score in crowd.gate.log.find(whole.id).scores)
    for name in others:
        counters = crowd.counters.scorers[name]
        assert (counters.dropped["shed"], counters.scored) == (1, 4)


def test_an_event_loop_that_is_late_leaves_them_out_too(tmp_path):
    with gated(
        tmp_path,
        endpoint(("a@1", 0.02), shadows=("s@1",)),
        {name: model(name, constant(2.0), fast=True) for name in ("a@1", "s@1")},
    ) as gate:

        async def late():
            time.sleep(0.3)  # noqa: ASYNC251 - as a loop is that has too much to do
            while not live.shed:  # noqa: ASYNC110 - the gateway's own look sets it
                await asyncio.sleep(0)

        live = gate.plane.live("wine")
        assert not live.shed
        gate.call(late())
        until(lambda: not live.shed)


def test_a_failing_model_is_no_full_one(tmp_path):
    """With its breaker open nothing waits for the model: the default answers, as for any model that fails."""
    with crowded(tmp_path) as crowd:
        crowd.scorer._open_until = float("inf")
        assert crowd.gate.client.predict("wine", rows=[ROW]).winner == "default"
        assert crowd.counters.overloaded == 0


def test_a_client_that_closes_frees_its_place_and_is_not_scored(tmp_path):
    with crowded(tmp_path) as crowd:
        crowd.fill()
        crowd.held.go.set()
        until(lambda: crowd.counters.requests == 3)
        crowd.held.go.clear()
        first = crowd.pool.submit(crowd.gate.client.predict, "wine", rows=[ROW])
        until(lambda: crowd.held.seen == 4)
        request = b"POST /v1/models/wine:predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(BODY)
        with socket.create_connection(("127.0.0.1", crowd.gate.port), 10) as going:
            going.sendall(request + BODY)
            until(lambda: crowd.waiting() == 1)
        until(lambda: crowd.waiting() == 0)
        assert crowd.counters.cancelled == 1
        crowd.held.go.set()
        assert first.result().winner == "a@1"
    assert (crowd.held.seen, crowd.counters.requests) == (4, 4)
    gone = [p for _, p in crowd.gate.log.predictions() if p.winner == "gone"]
    assert [(p.outputs, p.reason) for p in gone] == [({}, "the caller went before there was an answer")]
    assert [(s.state, s.error) for s in gone[0].scores] == [("failed", "cancelled: the caller had gone")]
    assert crowd.counters.scorers["a@1"].dropped["cancelled"] == 1


def test_what_a_model_has_begun_for_a_caller_that_went_is_logged_as_late(tmp_path):
    with crowded(tmp_path) as crowd:
        request = b"POST /v2/models/wine/infer HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n"
        body = json.dumps({"inputs": TENSORS}).encode()
        with socket.create_connection(("127.0.0.1", crowd.gate.port), 10) as going:
            going.sendall(request % len(body) + body)
            until(lambda: crowd.held.seen == 1)
        until(lambda: crowd.counters.cancelled == 1)
        assert not crowd.gate.plane.live("wine").busy
        crowd.held.go.set()
    ((_, logged),) = crowd.gate.log.predictions()
    assert (logged.winner, [s.state for s in logged.scores]) == ("gone", ["late"])


def test_a_call_that_is_cancelled_over_grpc_frees_its_place(tmp_path):
    with crowded(tmp_path) as crowd:
        crowd.fill()
        with rpc(crowd.gate) as infer:
            crowd.held.go.set()
            until(lambda: crowd.counters.requests == 3)
            crowd.held.go.clear()
            blocking = infer.future(infer_message(), timeout=20)
            until(lambda: crowd.held.seen == 4)
            behind, late = infer.future(infer_message(), timeout=20), infer.future(infer_message(), timeout=0.2)
            until(lambda: crowd.counters.cancelled == 1)  # its own deadline has passed
            assert late.exception().code() == grpc.StatusCode.DEADLINE_EXCEEDED
            behind.cancel()
            until(lambda: crowd.waiting() == 0)
            crowd.held.go.set()
            blocking.result()
        assert (crowd.counters.cancelled, crowd.held.seen) == (2, 4)


def test_pipelined_requests_behind_a_lost_one_are_not_begun(tmp_path):
    with crowded(tmp_path) as crowd:
        request = b"POST /v1/models/wine:predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(BODY)
        with socket.create_connection(("127.0.0.1", crowd.gate.port), 10) as going:
            going.sendall((request + BODY) * 3)
            until(lambda: crowd.held.seen == 1)
        until(lambda: crowd.counters.cancelled == 1)
        crowd.held.go.set()
        until(lambda: not crowd.scorer._lane.busy_since)
        assert crowd.held.seen == 1
