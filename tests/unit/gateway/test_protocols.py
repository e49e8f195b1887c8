import itertools
import json
import re
import threading
from pathlib import Path

import pytest
from served import ROW, endpoint, gated, linear, model, until

from headrace import __version__
from headrace.engines.local.stream import LocalStream
from headrace.gateway.triton import EXTENSIONS
from headrace.refs import id_time_ms
from headrace.serving import log_writer

ROWS = [ROW, {**ROW, "ph": None, "grape": "merlot"}]
DUE = [147.5, 12.5]
COLUMNS = {name: [r[name] for r in ROWS] for name in ROW}
JSON = ["content-type: application/json"]


def split(names):
    return {"dataframe_split": {"columns": list(names), "data": [[r[n] for n in names] for r in ROWS]}}


def tensors(order=tuple(ROW)):
    kinds = {"alcohol": "FP64", "grape": "BYTES", "year": "INT64", "ph": "FP32", "organic": "BOOL"}
    return {"inputs": [{"name": n, "shape": [2], "datatype": kinds[n], "data": COLUMNS[n]} for n in order]}


def test_rows_and_columns_of_tensorflow_serving(post):
    assert post("/v1/models/wine:predict", {"instances": ROWS}) == (200, {"predictions": DUE})
    assert post("/v1/models/wine:predict", {"inputs": COLUMNS}) == (200, {"outputs": DUE})
    assert post("/v1/models/wine:predict", {"signature_name": "serving_default", "instances": ROWS})[0] == 200


def test_the_forms_of_mlflow(post):
    for body in (split(ROW), {"dataframe_records": ROWS}, {"instances": ROWS}, {"inputs": COLUMNS}):
        assert post("/invocations", body, JSON) == (200, {"predictions": DUE})
    status, _ = post("/invocations", split(ROW), ["content-type: application/json; charset=utf-8"])
    assert status == 200


def test_inputs_may_be_records_as_mlflow_takes_them(post):
    assert post("/invocations", {"inputs": ROWS}, JSON) == (200, {"predictions": DUE})
    assert post("/invocations", {"inputs": ROW, "params": {}}, JSON) == (200, {"predictions": DUE[:1]})
    for inputs, said in (
        ([{**ROW, "alcohol": "strong"}], "column 'alcohol' is refused - row 0"),
        ({**ROW, "alcohol": "strong"}, "column 'alcohol' is refused"),
        ([{"alcohol": 9.5}], "is missing"),
        ({**ROW, "colour": "red"}, "'colour' is not an input"),
        ([list(ROW.values())], "unnamed input is refused"),
        ([], "no rows"),
    ):
        status, reply = post("/invocations", {"inputs": inputs}, JSON)
        assert (status in {400, 422}, said in reply["message"]) == (True, True), reply


def test_the_open_inference_protocol(post):
    status, reply = post("/v2/models/wine/infer", {"id": "my own", **tensors()})
    assert status == 200
    assert reply == {
        "model_name": "wine",
        "model_version": "3",
        "id": "my own",
        "outputs": [{"name": "quality", "shape": [2], "datatype": "FP32", "data": DUE}],
    }
    nested = tensors()
    for tensor in nested["inputs"]:
        tensor |= {"shape": [2, 1], "data": [[v] for v in tensor["data"]]}
    assert post("/v2/models/wine/infer", nested)[1]["outputs"][0]["data"] == DUE
    assert post("/v2/models/wine/versions/3/infer", {**tensors(), "outputs": [{"name": "quality"}]})[0] == 200


def test_what_is_optional_may_be_null(post):
    nothing = {"id": None, "parameters": None, "outputs": None}
    filled = {"inputs": [{**tensor, "parameters": None} for tensor in tensors()["inputs"]], **nothing}
    status, reply = post("/v2/models/wine/infer", filled)
    assert (status, reply["outputs"][0]["data"]) == (200, DUE)
    assert id_time_ms(reply["id"]) > 1_600_000_000_000
    asked = {**filled, "outputs": [{"name": "quality", "parameters": None}]}
    assert post("/v2/models/wine/infer", asked)[1]["outputs"][0]["data"] == DUE


@pytest.mark.parametrize("order", list(itertools.permutations(ROW))[::13])
def test_the_wine_lesson_shuffled_names_give_the_same_number(post, order):
    """A tutorial's server scored values by position in alphabetical order: another number, and HTTP 200."""
    rows = [{name: row[name] for name in order} for row in ROWS]
    columns = {name: COLUMNS[name] for name in order}
    assert post("/v1/models/wine:predict", {"instances": rows})[1] == {"predictions": DUE}
    assert post("/v1/models/wine:predict", {"inputs": columns})[1] == {"outputs": DUE}
    assert post("/invocations", split(order), JSON)[1] == {"predictions": DUE}
    assert post("/invocations", {"dataframe_records": rows}, JSON)[1] == {"predictions": DUE}
    assert post("/v2/models/wine/infer", tensors(order))[1]["outputs"][0]["data"] == DUE


def test_the_wine_lesson_unnamed_input_is_never_a_number(post):
    cells = [list(row.values()) for row in ROWS]
    bodies = [
        ("/v1/models/wine:predict", {"instances": cells}),
        ("/v1/models/wine:predict", {"inputs": cells}),
        ("/invocations", {"instances": cells}),
        ("/invocations", {"inputs": cells}),
        ("/invocations", {"dataframe_split": {"data": cells}}),
        ("/v2/models/wine/infer", {"inputs": [{"name": "0", "shape": [2, 5], "datatype": "FP32", "data": [1] * 10}]}),
    ]
    for path, body in bodies:
        status, reply = post(path, body, JSON)
        assert 400 <= status < 500
        assert not {"predictions", "outputs"} & set(reply)


def test_every_reply_says_id_winner_and_time(gate):
    reply = gate.client.raw("wine", json.dumps({"instances": ROWS}).encode())
    assert id_time_ms(reply.header("x-headrace-id")) > 1_600_000_000_000
    assert reply.header("x-headrace-winner") == "wine@3"
    assert 0 <= float(reply.header("x-headrace-elapsed-ms")) < 3000


def test_the_request_is_logged_as_the_scorers_saw_it(gate):
    sent = [{**row, "at": "2024-05-01T10:00"} for row in ROWS]
    answer = gate.client.predict("wine", rows=sent)
    logged = gate.log.find(answer.id)
    assert logged.columns == {name: tuple(values) for name, values in COLUMNS.items()}
    assert logged.event_time == ["2024-05-01T10:00"] * 2
    assert logged.outputs == {"quality": DUE}
    assert {s.model: s.outputs for s in logged.scores} == {"wine@3": {"quality": DUE}, "plain@1": {"quality": [1, 1]}}


def test_one_version_is_scored_and_logged_without_the_schedule(gate, post):
    answer = gate.client.predict("wine", rows=ROWS, version=3)
    assert answer.values == DUE
    assert [s.model for s in gate.log.find(answer.id).scores] == ["wine@3"]
    assert post("/v1/models/wine/versions/9:predict", {"instances": ROWS})[0] == 404
    status, reply = post("/v1/models/wine/versions/x:predict", {"instances": ROWS})
    assert (status, reply) == (400, {"error": "Failed to convert version: x"})


def test_status_and_metadata_of_tensorflow_serving(get):
    available = {"version": "3", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert get("/v1/models/wine") == (200, {"model_version_status": [available], "name": "wine", "ready": True})
    assert get("/v1/models/wine/versions/3") == (200, {"model_version_status": [available]})
    status, reply = get("/v1/models/wine/metadata")
    assert status == 200
    assert reply["model_spec"] == {"name": "wine", "signature_name": "", "version": "3"}
    inputs = reply["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]
    assert {n: i["dtype"] for n, i in inputs.items()} == {
        "alcohol": "DT_DOUBLE",
        "grape": "DT_STRING",
        "year": "DT_INT64",
        "ph": "DT_DOUBLE",
        "organic": "DT_BOOL",
    }
    assert get("/v1/models") == (400, {"error": "Missing model name in request."})
    assert get("/v1/models/wine:predict") == (400, {"error": "Malformed request: GET /v1/models/wine:predict"})
    assert get("/v1/models/nobody")[0] == 404


def test_metadata_and_health_of_the_open_inference_protocol(get):
    assert get("/v2/health/live") == (200, {"live": True})
    assert get("/v2/health/ready") == (200, {"ready": True, "live": True})
    assert get("/v2") == (200, {"name": "headrace", "version": __version__, "extensions": list(EXTENSIONS)})
    assert get("/v2/models/wine/ready") == (200, {"name": "wine", "ready": True})
    assert get("/v2/models/wine/versions/3/ready")[0] == 200
    status, reply = get("/v2/models/wine")
    assert (status, reply["name"], reply["versions"]) == (200, "wine", ["3"])
    assert reply["inputs"][1] == {"name": "grape", "datatype": "BYTES", "shape": [-1]}
    assert reply["outputs"] == [{"name": "quality", "datatype": "FP32", "shape": [-1]}]
    assert get("/v2/models/nobody")[0] == get("/v2/models/wine/versions/9/ready")[0] == get("/v2/other")[0] == 404


def test_the_small_paths_of_mlflow(get):
    assert get("/ping") == get("/health") == (200, "\n")
    assert get("/version") == (200, __version__)
    assert get("/invocations")[0] == 405


def test_the_address_itself_says_what_is_served_and_where_the_rest_lies(get, post):
    status, said = get("/")
    assert (status, said["ready"], said["server"]) == (200, True, f"headrace {__version__}")
    assert post(said["endpoints"]["wine"], {"instances": ROWS})[0] == 200
    for path in said["see"]:
        assert get(path)[0] == 200
    assert all((Path(__file__).parents[3] / path).is_file() for path in re.findall(r"docs/\S+\.md", said["docs"]))
    assert post("/", {})[0] == 405


def test_a_gateway_is_ready_once_the_first_record_of_a_log_would_not_wait(tmp_path, monkeypatch):
    monkeypatch.setattr(log_writer, "_HANGS_S", 60.0)
    reached, asked = threading.Event(), threading.Event()

    class Slow(LocalStream):
        def append(self, *given, **more):
            asked.set()
            assert reached.wait(10)
            return super().append(*given, **more)

    with gated(tmp_path) as gate:
        gate.plane._stream = Slow(tmp_path / "slow")
        flipping = threading.Thread(
            target=gate.flip, args=(endpoint(("wine@1", 0.02)), {"wine@1": model("wine@1", linear)})
        )
        flipping.start()
        assert asked.wait(10)
        until(lambda: gate.client.request("GET", "/v2/models/wine/ready").status == 200)
        assert not gate.client.ready()
        reached.set()
        flipping.join()
        assert gate.client.ready()


def test_an_endpoint_that_is_not_loaded_says_so(tmp_path):
    with gated(tmp_path) as gate:
        assert gate.client.ready() is False
        assert gate.client.request("GET", "/ping").status == 404
        assert gate.client.request("GET", "/v2/health/live").status == 200
        assert gate.client.request("GET", "/v2/models/wine/ready").status == 503
        assert gate.client.raw("wine", b"{}").status == 503
        assert gate.client.status("wine")[0]["state"] == "LOADING"
        gate.loop.call_soon_threadsafe(gate.plane.note, "wine", "its file was flipped")
        reply = gate.client.raw("wine", b"{}")
        assert b"its file was flipped" in reply.body
        assert gate.client.status("wine")[0]["state"] == "END"
