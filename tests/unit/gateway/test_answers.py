"""Replies: exactly one is sent, whatever goes wrong, and wherever the answer comes from."""

import json

import pytest
from served import ROW, endpoint, gated, linear, model

from headrace.gateway import tfs


@pytest.mark.parametrize("fast", [True, False])
def test_an_answer_that_cannot_be_written_is_a_fault_of_ours(tmp_path, monkeypatch, capsys, fast):
    """A caller whose model scores in a thread would wait for ever."""

    def broken(_live, _answer):
        raise UnicodeError("no text")

    monkeypatch.setattr(tfs, "_rows_reply", broken)
    body = json.dumps({"instances": [ROW]}).encode()
    with gated(
        tmp_path, endpoint(("wine@3", 2.0), deadline_s=3.0), {"wine@3": model("wine@3", linear, fast=fast)}
    ) as gate:
        reply = gate.client.request("POST", "/v1/models/wine:predict", body)
        assert (reply.status, json.loads(reply.body)) == (500, {"error": "internal error"})
        monkeypatch.undo()
        assert gate.client.request("POST", "/v1/models/wine:predict", body).status == 200
    assert "UnicodeError: no text" in capsys.readouterr().err
