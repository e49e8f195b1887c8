"""Features joined at the front door: what callers send in every protocol, what models and the log see, what is refused."""

import gc
import io
import json
import re
import threading
import weakref
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from memory_exchange import MemoryExchange
from rpc_served import rpc_channel
from served import Function, Gated, constant, endpoint, gated, linear, model, until

from headrace.client import Client
from headrace.errors import IntegrityError, NotFound, Unavailable
from headrace.features.view import FeatureView
from headrace.gateway.rpc.messages import INFERENCE
from headrace.gateway.rpc.tfs_messages import SERVING
from headrace.gateway.rpc.tfs_tensors import write_tensor
from headrace.models.params import Param
from headrace.serving.arrival import Raw
from headrace.serving.exchange import Present, pack
from headrace.serving.join import Join
from headrace.serving.lane import Terms
from headrace.serving.split import Split
from headrace.serving.station import Station

VIEW = FeatureView(
    "cellars", "a" * 64, {"cellar": "string"}, {"ph": "float64", "year": "int64", "staff": "int64"}, 3, "cellars@1"
)
ROWS = [(("north",), (3.5, 2019, 4)), (("south",), (None, 2020, 9)), (("lost",), (3.0, None, 1))]
CELLARS = Join("cellars").over(VIEW)
SENT = [
    {"alcohol": 12.5, "grape": "riesling", "organic": True, "cellar": "north"},
    {"alcohol": 11.0, "grape": "merlot", "organic": False, "cellar": "south"},
]
DUE = [147.5, 11.0]
KNOWN = {"wine@3": model("wine@3", linear, fast=True), "plain@1": model("plain@1", constant(1.0))}


def joined_endpoint(*, join=(CELLARS,), deadline_s=3.0, **more):
    return endpoint(("wine@3", 2.0), ("plain@1", 2.5), deadline_s=deadline_s, event_time="at", join=join, **more)


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    with gated(tmp_path_factory.mktemp("stream"), joined_endpoint(), KNOWN) as found:
        found.online.write(VIEW, iter(ROWS))
        yield found


@pytest.fixture
def own(tmp_path):
    """A gateway for one test alone, whose features it may harm."""
    with gated(tmp_path, joined_endpoint(deadline_s=1.0), KNOWN) as found:
        found.online.write(VIEW, iter(ROWS))
        yield found


def columns_of(rows):
    return {name: [row[name] for row in rows] for name in rows[0]}


def split_of(rows):
    return {"columns": list(rows[0]), "data": [list(row.values()) for row in rows]}


def parquet(rows):
    buffer = io.BytesIO()
    pl.DataFrame(rows).write_parquet(buffer)
    return buffer.getvalue()


def tensors(rows):
    kinds = {"alcohol": "FP64", "organic": "BOOL"}
    return [
        {"name": name, "shape": [len(cells)], "datatype": kinds.get(name, "BYTES"), "data": cells}
        for name, cells in columns_of(rows).items()
    ]


def values_of(body):
    found = body.get("predictions", body.get("outputs"))
    if isinstance(found, list) and found and isinstance(found[0], dict):
        return found[0]["data"]
    return found


JSON, TEXT, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"
BODIES = {
    "rows": ("/v1/models/wine:predict", JSON, lambda rows: {"instances": rows}),
    "columns": ("/v1/models/wine:predict", JSON, lambda rows: {"inputs": columns_of(rows)}),
    "version": ("/v1/models/wine/versions/3:predict", JSON, lambda rows: {"instances": rows}),
    "mlflow": ("/invocations", JSON, lambda rows: {"dataframe_split": split_of(rows)}),
    "records": ("/invocations", JSON, lambda rows: {"dataframe_records": rows}),
    "csv": ("/invocations", TEXT, lambda rows: pl.DataFrame(rows).write_csv().encode()),
    "parquet": ("/invocations", PARQUET, parquet),
    "oip": ("/v2/models/wine/infer", JSON, lambda rows: {"inputs": tensors(rows)}),
}


def ask(gate, form, rows):
    path, kind, make = BODIES[form]
    made = make(rows)
    body = made if isinstance(made, bytes) else json.dumps(made).encode()
    return body, gate.client.request("POST", path, body, {"content-type": kind})


@pytest.mark.parametrize("form", BODIES)
def test_every_protocol_joins(gate, form):
    """Models see whole rows, and the log holds them beside the body as it came and the version that was read."""
    body, reply = ask(gate, form, SENT)
    assert reply.status == 200, reply.body
    assert values_of(json.loads(reply.body)) == DUE
    logged = gate.log.find(reply.header("x-headrace-id"))
    assert {name: list(cells) for name, cells in logged.columns.items()} == {
        **columns_of(SENT),
        "year": [2019, 2020],
        "ph": [3.5, None],
    }
    assert [tuple(one) for one in logged.joined] == [("cellars", VIEW.version, ("ph", "year"))]
    assert logged.raw.body == body
    assert logged.winner == "wine@3"


@pytest.mark.parametrize("form", BODIES)
def test_a_joined_column_that_is_sent_is_refused(gate, form):
    _, reply = ask(gate, form, [{**row, "ph": 9.0} for row in SENT])
    assert reply.status in {400, 422}, reply.body
    assert b"'ph' is joined here" in reply.body
    assert b"leave it out" in reply.body


@pytest.mark.parametrize("form", BODIES)
def test_an_unknown_entity_is_refused_by_its_name(gate, form):
    refused = gate.plane.counters["wine"].refused
    _, reply = ask(gate, form, [SENT[0], {**SENT[1], "cellar": "nowhere"}])
    assert reply.status in {400, 422}, reply.body
    for said in (b"cellar 'nowhere'", b"row 1", b"materialize view cellars"):
        assert said in reply.body
    assert gate.plane.counters["wine"].refused == refused + 1


def test_a_feature_that_is_null_and_may_not_be_is_refused(gate):
    _, reply = ask(gate, "rows", [{**SENT[0], "cellar": "lost"}])
    assert (reply.status, b"has no 'year' of it" in reply.body) == (400, True)


@pytest.mark.parametrize("cell", [7, None, ["north"]])
def test_a_key_of_another_type_is_refused_by_its_column(gate, cell):
    _, reply = ask(gate, "rows", [{**SENT[0], "cellar": cell}])
    assert (reply.status, b"column 'cellar' is refused" in reply.body) == (400, True)


def test_a_row_without_its_key_and_one_that_is_unnamed(gate):
    missing = {name: value for name, value in SENT[0].items() if name != "cellar"}
    assert b"column 'cellar' is missing" in ask(gate, "rows", [missing])[1].body
    assert ask(gate, "rows", [list(SENT[0].values())])[1].status == 400
    split = {"data": split_of(SENT)["data"]}
    reply = gate.client.request("POST", "/invocations", json.dumps({"dataframe_split": split}).encode())
    assert reply.status in {400, 422}
    assert b"alcohol, grape, organic, cellar" in reply.body.replace(
        b"alcohol, organic, grape", b"alcohol, grape, organic"
    )


def test_grpc_joins(gate):
    inputs = {
        "alcohol": write_tensor(np.array([12.5, 11.0]), "float64"),
        "organic": write_tensor(np.array([True, False]), "bool"),
        "grape": write_tensor(np.array(["riesling", "merlot"], object), "string"),
        "cellar": write_tensor(np.array(["north", "south"], object), "string"),
    }
    with rpc_channel(gate) as channel:
        method = channel.unary_unary(
            "/tensorflow.serving.PredictionService/Predict",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=SERVING.PredictResponse.FromString,
        )
        asked = SERVING.PredictRequest(model_spec=SERVING.ModelSpec(name="wine"), inputs=inputs)
        assert list(method(asked, timeout=10).outputs["quality"].float_val) == DUE
        inputs["cellar"] = write_tensor(np.array(["north", "nowhere"], object), "string")
        asked = SERVING.PredictRequest(model_spec=SERVING.ModelSpec(name="wine"), inputs=inputs)
        with pytest.raises(Exception, match="cellar 'nowhere'") as refused:
            method(asked, timeout=10)
        assert refused.value.code().name == "INVALID_ARGUMENT"
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelMetadata",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=INFERENCE.ModelMetadataResponse.FromString,
        )
        told = infer(INFERENCE.ModelMetadataRequest(name="wine"), timeout=10)
        assert {field.name for field in told.inputs} == set(SENT[0])


def test_callers_are_told_what_they_send(gate):
    """Not what is joined; and what is joined by, with its type."""
    told = json.loads(gate.client.request("GET", "/v1/models/wine/metadata").body)
    inputs = told["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]
    assert {name: field["dtype"] for name, field in inputs.items()} == {
        "alcohol": "DT_DOUBLE",
        "grape": "DT_STRING",
        "organic": "DT_BOOL",
        "cellar": "DT_STRING",
    }
    told = json.loads(gate.client.request("GET", "/v2/models/wine").body)
    assert {field["name"] for field in told["inputs"]} == set(SENT[0])
    schemas = json.loads(gate.client.request("GET", "/openapi.json").body)["components"]["schemas"]
    rows = schemas["wine.predict"]["oneOf"][0]["properties"]["instances"]["items"]
    assert set(rows["required"]) == set(SENT[0])
    assert set(rows["properties"]) == {*SENT[0], "at"}


def test_event_time_is_kept_beside(gate):
    _, reply = ask(gate, "rows", [{**row, "at": f"2024-01-0{day}"} for day, row in enumerate(SENT, 1)])
    logged = gate.log.find(reply.header("x-headrace-id"))
    assert list(logged.event_time) == ["2024-01-01", "2024-01-02"]
    assert list(logged.columns["cellar"]) == ["north", "south"]
    assert ask(gate, "rows", [{**SENT[0], "at": "soon"}])[1].status == 400


def test_every_scorer_sees_the_same_rows(tmp_path):
    """A shadow, and a model that takes fewer columns than the first."""
    seen = {}

    def watching(name):
        def score(batch):
            seen[name] = {
                part: pl.DataFrame(matrix.tolist(), orient="row").fill_nan(None).rows()
                for part, matrix in batch.items()
            }
            return constant(1.0)(batch)

        return score

    few = replace(KNOWN["wine@3"].signature, inputs=KNOWN["wine@3"].signature.inputs[2:4])
    models = {
        "wine@3": model("wine@3", watching("first")),
        "shadow@1": model("shadow@1", watching("shadow")),
        "few@1": model("few@1", watching("few"), signature=few),
    }
    deployed = endpoint(("wine@3", 2.0), deadline_s=3.0, shadows=("shadow@1", "few@1"), join=(CELLARS,))
    with gated(tmp_path, deployed, models) as gate:
        gate.online.write(VIEW, iter(ROWS))
        assert ask(gate, "rows", SENT)[1].status == 200
        until(lambda: len(seen) == 3)
    numbers = [(12.5, 2019.0, 3.5, 1.0), (11.0, 2020.0, None, 0.0)]
    assert seen["first"]["numbers"] == numbers
    assert seen["shadow"] == seen["first"]
    assert seen["few"] == {"numbers": [row[1:3] for row in numbers]}


def test_one_view_joined_twice_by_a_prefix_and_by_another_column(tmp_path):
    """``on`` names callers' columns, whatever the view calls its keys."""
    grapes = replace(VIEW, name="grapes", keys={"name": "string"}, columns={"alcohol": "float32"}, version="b" * 64)
    joins = (CELLARS, Join("grapes", ("grape",)).over(grapes))
    with gated(tmp_path, joined_endpoint(join=joins), KNOWN) as gate:
        gate.online.write(VIEW, iter(ROWS))
        gate.online.write(grapes, iter([(("riesling",), (10.0,)), (("merlot",), (20.0,))]))
        _, reply = ask(gate, "rows", [{"grape": r["grape"], "organic": True, "cellar": r["cellar"]} for r in SENT])
        assert values_of(json.loads(reply.body)) == [145.0, 20.0]
        logged = gate.log.find(reply.header("x-headrace-id"))
        assert [one.view for one in logged.joined] == ["cellars", "grapes"]
    prefixed = replace(VIEW, columns={"ear": "int64"})
    with gated(tmp_path / "other", joined_endpoint(join=(Join("cellars", (), "y").over(prefixed),)), KNOWN) as gate:
        gate.online.write(prefixed, iter([(("north",), (1999,))]))
        _, reply = ask(gate, "rows", [{**SENT[0], "ph": 1.0}])
        assert list(gate.log.find(reply.header("x-headrace-id")).columns["year"]) == [1999]


def test_a_split_may_go_by_a_joined_column_and_masks_hide_it(tmp_path):
    deployed = joined_endpoint(split=Split({"plain@1": 0.5}, "year"), mask=("year", "cellar"))
    with gated(tmp_path, deployed, KNOWN) as gate:
        gate.online.write(VIEW, iter(ROWS))
        winners = {ask(gate, "rows", [SENT[0]])[1].header("x-headrace-winner") for _ in range(8)}
        assert len(winners) == 1
        logged = gate.log.find(ask(gate, "rows", [SENT[0]])[1].header("x-headrace-id"))
    assert (logged.columns["ph"], logged.raw) == ((3.5,), None)
    assert logged.key
    assert not {2019, "2019", "north"} & {logged.columns["year"][0], logged.columns["cellar"][0], logged.key}


def test_a_new_version_is_read_from_the_next_request_on(own):
    assert values_of(json.loads(ask(own, "rows", SENT)[1].body)) == DUE
    own.online.write(
        replace(VIEW, version="b" * 64), iter([((cellar,), (4.5, 2000, 1)) for cellar in ("north", "south")])
    )
    _, reply = ask(own, "rows", SENT)
    assert values_of(json.loads(reply.body)) == [157.5, 56.0]
    assert own.log.find(reply.header("x-headrace-id")).joined[0].version == "b" * 64


class Broken:
    """A store that does what a test says."""

    def __init__(self, read):
        self.read = read

    def at_hand(self, name, keys):
        return None

    def close(self):
        pass


def hanging(store):
    """A store that hangs, and the events that a read has begun, and may go on."""
    entered, go = threading.Event(), threading.Event()

    def read(name, keys):
        entered.set()
        assert go.wait(20)
        return store.read(name, keys)

    return Broken(read), entered, go


def failing(error):
    def read(name, keys):
        raise error

    return Broken(read)


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("the store is away"),
        IntegrityError("it is damaged"),
        NotFound("no such view"),
        RuntimeError("a fault"),
    ],
)
def test_a_store_that_cannot_be_read_costs_no_answer(own, error):
    """The default answers, at once and told as such; the log keeps what was sent and why, and no model is blamed."""
    own.online = failing(error)
    _, reply = ask(own, "rows", SENT)
    assert (reply.status, values_of(json.loads(reply.body))) == (200, [5.0, 5.0])
    assert reply.header("x-headrace-winner") == "default"
    logged = own.log.find(reply.header("x-headrace-id"))
    assert logged.winner == "default"
    assert str(error) in logged.reason
    assert "not there after" not in logged.reason
    assert "cellars" in logged.reason
    assert (list(logged.columns["cellar"]), list(logged.columns["year"]), logged.joined) == (
        ["north", "south"],
        [None, None],
        (),
    )
    counters = own.plane.counters["wine"]
    assert (counters.unjoined, counters.defaults) == (1, 1)
    assert counters.scorers["wine@3"].dropped["unjoined"] == 1
    assert b'headrace_unjoined_total{endpoint="wine"} 1' in own.client.request("GET", "/metrics").body


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("the store is away", where="/secret/cellars.sqlite", why="[Errno 5] '/secret'"),
        PermissionError(13, "no", "/secret/cellars.sqlite"),
    ],
)
def test_callers_do_not_hear_where_the_store_is(tmp_path, error):
    """Without a default they hear that features are away; the log and who runs the gateway hear why."""
    deployed = replace(joined_endpoint(), default={})
    with gated(tmp_path, deployed, KNOWN) as gate:
        gate.online = failing(error)
        _, reply = ask(gate, "rows", SENT)
        assert reply.status == 503
        assert b"features of cellars could not be joined" in reply.body
        assert b"secret" not in reply.body
        identifier = re.search(r"no model answered request (\S+)", reply.body.decode()).group(1)
        assert "/secret" in gate.log.find(identifier).reason
        assert "/secret" in gate.plane.counters["wine"].unjoined_why


def test_a_store_that_hangs_holds_up_requests_for_half_the_deadline_then_nobody(own):
    """Those that wait are answered by then, those that come meanwhile at once; when it is well again, all is well."""
    store = own.online
    own.online, entered, go = hanging(store)
    _, first = ask(own, "rows", SENT)
    assert entered.is_set()
    assert first.header("x-headrace-winner") == "default"
    assert float(first.header("x-headrace-elapsed-ms")) >= 499
    assert "not there after 500 ms" in own.log.find(first.header("x-headrace-id")).reason
    _, second = ask(own, "rows", SENT)
    assert second.header("x-headrace-winner") == "default"
    assert "hangs" in own.log.find(second.header("x-headrace-id")).reason
    own.online = store
    go.set()
    until(lambda: ask(own, "rows", SENT)[1].header("x-headrace-winner") == "wine@3")


def test_a_store_that_was_quick_and_hangs_holds_nobody_up(own):
    """It was read so often that the event loop itself would read it: others are answered all the while."""

    def at_hand():
        assert ask(own, "rows", SENT)[1].header("x-headrace-winner") == "wine@3"
        return own.online.at_hand("cellars", [("north",)])

    for _ in range(100):
        at_hand()
    until(at_hand)
    own.online, entered, go = hanging(own.online)
    asking = threading.Thread(target=ask, args=(own, "rows", SENT))
    asking.start()
    assert entered.wait(10)
    with Client(f"http://127.0.0.1:{own.port}", timeout_s=5) as other:
        assert other.request("GET", "/v2/health/live").status == 200
        assert not go.is_set()
    go.set()
    asking.join(10)


def test_a_view_that_lost_a_column_is_not_guessed(own):
    own.online.write(replace(VIEW, version="b" * 64, columns={"ph": "float64"}), iter([(("north",), (3.5,))]))
    _, reply = ask(own, "rows", [SENT[0]])
    assert reply.header("x-headrace-winner") == "default"
    assert "has no 'year'" in own.log.find(reply.header("x-headrace-id")).reason


def test_a_damaged_file_costs_no_answer_and_is_mended_by_the_next_version(own, tmp_path):
    path = tmp_path / "online" / "cellars.sqlite"
    path.unlink()
    path.write_bytes(b"no database" * 1000)
    until(lambda: ask(own, "rows", SENT)[1].header("x-headrace-winner") == "default")
    own.online.write(VIEW, iter(ROWS))
    assert values_of(json.loads(ask(own, "rows", SENT)[1].body)) == DUE


def test_a_caller_who_goes_before_its_features_are_there(own):
    store = own.online
    own.online, entered, go = hanging(store)
    replies = []

    async def predict():
        live = own.plane.live("wine")
        return own.plane.predict(live, live.decoder.of_records(SENT), replies.append)

    async def cancel(request):
        request.cancel()
        return own.plane.live("wine").open

    request = own.call(predict())
    assert entered.wait(10)
    assert own.call(cancel(request)) == 0
    go.set()
    until(lambda: own.log.find(request.id))
    assert own.log.find(request.id).winner == "gone"
    assert replies == []


class Arrived:
    """A request as it came, which knows what is called off when its caller goes, as those of HTTP do."""

    raw, pending = Raw("/v1/models/wine:predict", JSON, b"{}"), None

    def header(self, name):
        return ""


@pytest.mark.parametrize("cellar", ["north", "nowhere"])
def test_an_answered_request_is_let_go_without_the_collector(gate, cellar):
    """Bodies are large, and the collector of cycles comes seldom."""
    replies = []

    async def predict():
        arrival = Arrived()
        live = gate.plane.live("wine")
        arrival.pending = gate.plane.predict(
            live, live.decoder.of_records([{**SENT[0], "cellar": cellar}]), replies.append, arrival
        )
        return weakref.ref(arrival)

    gc.disable()
    try:
        kept = gate.call(predict())
        until(lambda: replies)
        until(lambda: kept() is None)
    finally:
        gc.enable()


def test_a_request_whose_caller_went_is_let_go_without_the_collector(own):
    go, entered = threading.Event(), threading.Event()

    def read(name, keys):
        entered.set()
        assert go.wait(20)
        raise Unavailable("away")

    own.online = Broken(read)

    async def predict():
        arrival = Arrived()
        live = own.plane.live("wine")
        arrival.pending = own.plane.predict(live, live.decoder.of_records(SENT), None, arrival)
        return arrival

    async def cancelled(arrival):
        arrival.pending.cancel()
        return weakref.ref(arrival)

    gc.disable()
    try:
        arrival = own.call(predict())
        assert entered.wait(10)
        kept = own.call(cancelled(arrival))
        del arrival
        until(lambda: kept() is None)  # while reading still hangs
    finally:
        gc.enable()
        go.set()


def test_swaps_under_load_fail_no_request_and_mix_no_versions(tmp_path, figure):
    """Every reply is of one version: all of its rows have the number that the version was written with."""
    cellars = [f"c{n}" for n in range(20)]
    rows = [{**SENT[1], "alcohol": 0.0, "cellar": cellar} for cellar in cellars]
    stop, failed, seen, count = threading.Event(), [], set(), 0

    def write(online, number):
        view = replace(VIEW, version=f"{number:064x}")
        online.write(view, (((cellar,), (float(number), number, 0)) for cellar in cellars))

    def rewrite(online):
        number = 0
        while not stop.is_set():
            number += 1
            write(online, number)

    with gated(tmp_path, joined_endpoint(deadline_s=5.0), KNOWN) as gate:
        write(gate.online, 0)
        writer = threading.Thread(target=rewrite, args=(gate.online,))
        writer.start()
        try:
            while count < 300 or len(seen) < 5:
                count += 1
                assert count < 5000
                _, reply = ask(gate, "rows", rows)
                values = set(values_of(json.loads(reply.body))) if reply.status == 200 else set()
                if reply.header("x-headrace-winner") == "default" or len(values) != 1:
                    failed.append((reply.status, values))
                seen |= values
        finally:
            stop.set()
            writer.join()
        logged = [prediction for _, prediction in gate.log.predictions(limit=5000)]
    figure("join.swap_failed", len(failed))
    assert not failed
    assert len(logged) == count
    assert all(set(p.columns["year"]) == {int(p.joined[0].version, 16)} for p in logged)


def test_a_server_without_a_store_refuses_such_an_endpoint(tmp_path):
    with gated(tmp_path) as gate:
        gate.plane._lookups = None
        with pytest.raises(Exception, match="was given no store"):
            gate.flip(joined_endpoint(), KNOWN)


class Tunable(Function):
    """A loaded model that multiplies by a parameter."""

    def __init__(self, factor=1.0):
        super().__init__(lambda batch: {"quality": linear(batch)["quality"] * np.float32(factor)})

    def tuned(self, params):
        return Tunable(**params)


def test_params_go_with_the_rows_that_features_were_joined_to(tmp_path):
    signature = replace(KNOWN["wine@3"].signature, params=(Param("factor", "float64", 1.0),))
    made = model("wine@3", None, signature=signature)
    object.__setattr__(made, "loaded", Tunable())
    with gated(tmp_path, endpoint(("wine@3", 2.0), deadline_s=3.0, join=(CELLARS,)), {"wine@3": made}) as gate:
        gate.online.write(VIEW, iter(ROWS))
        body = json.dumps({"dataframe_records": SENT, "params": {"factor": 2.0}}).encode()
        reply = gate.client.request("POST", "/invocations", body, {"content-type": JSON})
        assert values_of(json.loads(reply.body)) == [2 * value for value in DUE]
        logged = gate.log.find(reply.header("x-headrace-id"))
        assert (logged.params, logged.columns["year"], len(logged.joined)) == ({"factor": 2.0}, (2019, 2020), 1)
        gate.online = failing(Unavailable("away"))
        reply = gate.client.request("POST", "/invocations", body, {"content-type": JSON})
        assert reply.header("x-headrace-winner") == "default"
        assert gate.log.find(reply.header("x-headrace-id")).params == {"factor": 2.0}


def test_workers_are_given_whole_rows(tmp_path):
    """What a worker on another host scores is what the log at the front door holds."""
    exchange = MemoryExchange()
    worker = Station("wine", model("wine@3", linear), exchange.other(), "w", projections=lambda *_: None, terms=Terms())
    gate = Gated(tmp_path, exchange=exchange)
    try:
        gate.online.write(VIEW, iter(ROWS))
        here = {"wine@3": model("wine@3", constant(-1.0))}
        gate.flip(endpoint(("wine@3", 4.0), deadline_s=5.0, join=(CELLARS,)), here)
        exchange.tell("wine", pack(Present("w", {"wine@3": ""})))
        until(lambda: gate.desks.of("wine").workers("wine@3"))
        _, reply = ask(gate, "rows", SENT)
        assert values_of(json.loads(reply.body)) == DUE
        logged = gate.log.find(reply.header("x-headrace-id"))
        assert list(logged.columns["year"]) == [2019, 2020]
        assert logged.scores[0].worker
    finally:
        gate.close()
        worker.stop()
        worker.join()
