"""Statistics, configuration and repository index, as Triton's clients ask for them."""

import json

import pytest
from served import ROW, gated


@pytest.fixture
def ask(gate):
    def send(method, path, body=b""):
        reply = gate.client.request(method, path, body)
        return reply.status, json.loads(reply.body)

    return send


def test_statistics_count_requests_and_rows(gate, ask):
    def counted(path):
        status, reply = ask("GET", path)
        assert status == 200
        (row,) = reply["model_stats"]
        assert (row["name"], row["version"]) == ("wine", "3")
        return row

    before = counted("/v2/models/wine/stats")
    gate.client.predict("wine", rows=[ROW] * 5)
    for path in ("/v2/models/wine/stats", "/v2/models/wine/versions/3/stats", "/v2/models/stats"):
        after = counted(path)
        assert after["inference_count"] == before["inference_count"] + 5
        assert after["execution_count"] == before["execution_count"] + 1
        assert after["inference_stats"]["success"]["count"] == before["inference_stats"]["success"]["count"] + 1
        assert after["inference_stats"]["success"]["ns"] > before["inference_stats"]["success"]["ns"]
        (batch,) = [one for one in after["batch_stats"] if one["batch_size"] == 5]
        assert batch["compute_infer"]["count"] >= 1
        assert batch["compute_infer"]["ns"] > 0
        assert after["last_inference"] > 1_600_000_000_000
    assert ask("GET", "/v2/models/wine/versions/9/stats")[0] == 404


def test_the_configuration_says_types_and_extents(ask):
    status, reply = ask("GET", "/v2/models/wine/config")
    assert (status, reply["name"], reply["max_batch_size"]) == (200, "wine", 0)
    assert reply["input"][1] == {"name": "grape", "data_type": "TYPE_STRING", "dims": [-1]}
    assert reply["output"] == [{"name": "quality", "data_type": "TYPE_FP32", "dims": [-1]}]
    assert reply["version_policy"] == {"specific": {"versions": [3]}}


def test_the_index_lists_versions_with_their_state(ask):
    row = {"name": "wine", "version": "3", "state": "READY", "reason": ""}
    assert ask("POST", "/v2/repository/index") == (200, [row])
    assert ask("POST", "/v2/repository/index", b'{"ready": true}') == (200, [row])
    deep = b'{"a": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    for unreadable in (b'{"ready": 1}', deep, b'{"ready": "\xff"}', b"\xff"):
        assert ask("POST", "/v2/repository/index", unreadable)[0] == 400
    assert ask("GET", "/v2/repository/index")[0] == 405


def test_the_index_says_why_a_model_is_not_there(tmp_path):
    with gated(tmp_path) as gate:

        def index(body=b""):
            return json.loads(gate.client.request("POST", "/v2/repository/index", body).body)

        assert [row["state"] for row in index()] == ["LOADING"]
        gate.loop.call_soon_threadsafe(gate.plane.note, "wine", "a flipped bit")
        assert index() == [{"name": "wine", "version": "", "state": "UNAVAILABLE", "reason": "a flipped bit"}]
        assert index(b'{"ready": true}') == []
        assert json.loads(gate.client.request("GET", "/v2/models/stats").body) == {"model_stats": []}


def test_nothing_is_loaded_or_unloaded_on_the_scoring_port(ask):
    for verb in ("load", "unload"):
        status, reply = ask("POST", f"/v2/repository/models/wine/{verb}", b"{}")
        assert (status, "(--control-port)" in reply["error"]) == (400, True)
    assert ask("GET", "/v2/models/wine/ready")[0] == 200
    assert ask("POST", "/v2/repository/other")[0] == 404
