import json
import threading

import numpy as np
import pytest
from served import ROW, constant, endpoint, gated, model, until

from headrace.serving.log import topic
from headrace.serving.masking import Mask
from headrace.serving.split import Split

MODELS = {"a@1": model("a@1", constant(1.0), fast=True)}
BODY = json.dumps({"instances": [ROW]}, indent=2).encode()
CANARY = "canary-4f1b2c"
TEXT = next(name for name, cell in ROW.items() if isinstance(cell, str))


def test_equal_cells_have_equal_hashes_and_another_key_others():
    mask = Mask(["name"], b"k" * 32)
    hidden = mask.cells(("age", "name"), [(7.0, "ada"), (8.0, "ada"), (9.0, None), (9.0, "")])
    assert hidden[0][1] == hidden[1][1] != "ada"
    assert [row[0] for row in hidden] == [7.0, 8.0, 9.0, 9.0]
    assert [row[1] for row in hidden[2:]] == [None, ""]
    assert Mask(["name"], b"j" * 32).text("ada") != mask.text("ada")


def test_a_row_of_a_tensor_is_one_secret():
    mask = Mask(["x"], b"k" * 32)
    hidden = mask.cells(("x", "y"), {"x": np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 3.0]]), "y": np.ones((3, 1))})
    assert hidden["x"].shape == (3, 1)
    assert hidden["x"][0, 0] == hidden["x"][1, 0] != hidden["x"][2, 0]
    assert hidden["y"].tolist() == [[1.0]] * 3


def test_the_log_keeps_the_body_byte_for_byte(tmp_path):
    with gated(tmp_path, endpoint(("a@1", 0.02)), MODELS) as gate:
        reply = gate.client.raw("wine", BODY)
        found = gate.log.find(reply.header("x-headrace-id"))
    assert found.raw.body == BODY
    assert (found.raw.target, found.raw.content_type) == ("/v1/models/wine:predict", "application/json")
    assert found.masked == ()


def test_masked_columns_are_in_the_log_as_hashes_only(tmp_path):
    deployed = endpoint(("a@1", 0.02), mask=(TEXT, "X-Customer"), split=Split({"a@1": 0.5}, "x-customer"))
    with gated(tmp_path, deployed, MODELS) as gate:
        replies = [gate.client.raw("wine", BODY, headers={"x-customer": "secret-7"}) for _ in range(2)]
        found = [gate.log.find(reply.header("x-headrace-id")) for reply in replies]
        written = b"".join(record.value for record in gate.stream.read(topic("wine")))
    assert all(reply.status == 200 for reply in replies)
    assert ROW[TEXT].encode() not in written
    assert b"secret-7" not in written
    assert found[0].columns[TEXT] == found[1].columns[TEXT] != (ROW[TEXT],)
    assert found[0].key == found[1].key != ""
    assert found[0].masked == (TEXT, "X-Customer")
    assert found[0].raw is None
    assert {n: v for n, v in found[0].columns.items() if n != TEXT} == {n: (v,) for n, v in ROW.items() if n != TEXT}


def test_the_log_names_masked_columns_as_the_model_spells_them(tmp_path):
    with gated(tmp_path, endpoint(("a@1", 0.02), mask=(TEXT.upper(), "x-customer")), MODELS) as gate:
        found = gate.log.find(gate.client.raw("wine", BODY).header("x-headrace-id"))
    assert found.columns[TEXT] != (ROW[TEXT],)
    assert found.masked == (TEXT, "x-customer")  # or monitoring and replay would take its hashes for values


def quotes(batch):
    """What careless code says when it meets a cell that it does not know."""
    raise ValueError(f"no such customer: {batch['strings'].tolist()}")


def looks_up(batch):
    return {}[str(batch["strings"].tolist())]


@pytest.mark.parametrize("mask", [(TEXT,), ()])
def test_what_a_model_says_of_a_masked_cell_is_written_nowhere(tmp_path, capfd, mask):
    go = threading.Event()

    def quotes_late(batch):
        assert go.wait(20)
        quotes(batch)

    names = {"a@1": quotes, "b@1": looks_up, "c@1": quotes_late}
    models = {name: model(name, function, fast=function is not quotes_late) for name, function in names.items()}
    deployed = endpoint(("a@1", 0.01), ("b@1", 0.01), ("c@1", 0.01), mask=mask)
    with gated(tmp_path, deployed, models) as gate:
        answer = gate.client.predict("wine", rows=[{**ROW, TEXT: CANARY}])
        go.set()
        until(lambda: gate.plane.counters["wine"].scorers["c@1"].failed)
        until(lambda: {score.state for score in gate.log.find(answer.id).scores} == {"failed"})
        found = gate.log.find(answer.id)
        said = [gate.client.request("GET", path).body for path in ("/metrics", "/overview")]
        written = b"".join(record.value for record in gate.stream.read(topic("wine")))
    told = capfd.readouterr()
    assert answer.winner == "default"
    everywhere = [written, *said, told.out.encode(), told.err.encode()]
    assert any(CANARY.encode() in place for place in everywhere) == (not mask)
    assert (CANARY in found.reason) == (not mask)
    if mask:
        assert {score.error for score in found.scores} == {
            "ValueError (its text may quote what is masked)",
            "failed (its text may quote what is masked)",
        }
        assert "a@1 failed (ValueError (its text may quote what is masked))" in found.reason
