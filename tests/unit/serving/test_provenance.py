"""What a watched folder held when it answered: the newest loading before the prediction, of that version."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from headrace.engines.sqlite.ledger import open_ledger
from headrace.models.signature import Signature
from headrace.models.version import ModelVersion
from headrace.serving.provenance import KIND, Loading, answered, record, watched
from headrace.serving.records import Prediction
from headrace.settings import Settings
from headrace.storage.ledger import Fact

ASKED = Prediction("id", "wine", 5_000, {}, (), {}, "wine@2", "", 0.0, (), 0)


@pytest.fixture
def ledger(tmp_path):
    opened = open_ledger(Settings(root=tmp_path), "sqlite")
    yield opened
    opened.close()


def test_a_replaced_folder_is_told_from_what_it_held_before(ledger):
    for at, number, digest in ((1.0, 2, "first"), (3.0, 2, "second"), (4.0, 1, "other"), (6.0, 2, "later")):
        loading = Loading(number, digest, "onnx", f"models/wine/{number}")
        ledger.append([Fact(KIND, "wine", asdict(loading), at=at)])
    assert answered(ledger, ASKED) == Loading(2, "second", "onnx", "models/wine/2")
    assert answered(ledger, replace(ASKED, at_ms=2_000)).digest == "first"
    assert answered(ledger, replace(ASKED, at_ms=6_000)).digest == "later"
    assert answered(ledger, replace(ASKED, at_ms=500)) is None
    assert answered(ledger, replace(ASKED, winner="wine@3")) is None
    assert answered(ledger, replace(ASKED, winner="beer@2")) is None
    assert watched(ledger) == {"wine"}


def test_what_is_loaded_is_recorded_as_it_is(ledger):
    record(ledger, ModelVersion("wine", 2, "abc", Signature("table", (), ()), "onnx"), Path("models/wine/002"))
    (fact,) = ledger.query(KIND, "wine")
    asked = replace(ASKED, at_ms=int(fact.at * 1000))
    assert answered(ledger, asked) == Loading(2, "abc", "onnx", "models/wine/002")
