import math
import subprocess
import sys

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from served import ROW, WINE

from headrace.errors import SignatureError
from headrace.models.signature import Column, Signature
from headrace.serving.request import TableDecoder, projection
from headrace.serving.tensors import decoder_of

DECODER = TableDecoder(WINE, event_time="at")


def decoded(rows):
    return DECODER.of_records(rows)


def test_a_signature_is_compiled_once_whoever_has_it():
    """A server that swaps a model a thousand times makes no thousand sets of classes."""
    again = Signature.from_json(WINE.to_json())
    assert again is not WINE
    assert decoder_of(again) is decoder_of(WINE)
    assert (decoder_of(WINE).event_time, decoder_of(WINE, "at").event_time) == (False, True)


def test_rows_become_the_matrices_that_models_take():
    found = decoded([ROW, {**ROW, "ph": None, "organic": False}])
    assert DECODER.names == ("alcohol", "year", "ph", "organic", "grape", "at")
    np.testing.assert_array_equal(found.batch["numbers"], [[12.5, 2019, 3.5, 1], [12.5, 2019, math.nan, 0]])
    assert found.batch["strings"].tolist() == [["riesling"], ["riesling"]]
    assert found.cells[0] == (12.5, 2019, 3.5, True, "riesling", "")


def test_numbers_are_as_exact_as_their_columns_unless_no_model_takes_them_so():
    exact = {**ROW, "alcohol": 0.1, "year": 2**53 - 1}
    wide, narrow = (decoder_of(WINE, narrow=n).of_records([exact]).batch["numbers"] for n in (False, True))
    assert (wide.dtype, narrow.dtype) == (np.float64, np.float32)
    assert wide[0, :2].tolist() == [0.1, 2**53 - 1]
    assert narrow[0, :2].tolist() == [np.float32(0.1), 2**53]


def test_narrow_columns_stay_float32():
    signature = Signature("table", (Column("a", "float32"), Column("b", "bool")), (Column("y", "float32"),))
    assert decoder_of(signature).of_records([{"a": 0.1, "b": True}]).batch["numbers"].dtype == np.float32


@given(st.permutations(list(ROW)))
def test_the_order_of_columns_never_matters(order):
    shuffled = {name: ROW[name] for name in order}
    assert decoded([shuffled]).cells == decoded([ROW]).cells
    columns = DECODER.of_mapping({name: [ROW[name]] for name in order})
    np.testing.assert_array_equal(columns.batch["numbers"], decoded([ROW]).batch["numbers"])


def test_columns_and_rows_mean_the_same():
    rows = [ROW, {**ROW, "alcohol": 9, "grape": "merlot", "at": "2024-05-01"}]
    columns = {name: [row.get(name, "") for row in rows] for name in (*ROW, "at")}
    assert DECODER.of_mapping(columns).cells == decoded(rows).cells


def test_the_event_time_may_be_left_out():
    assert decoded([{**ROW, "at": 1714564800}]).cells[0][-1] == 1714564800
    assert DECODER.of_mapping({name: [value] for name, value in ROW.items()}).cells[0][-1] == ""


@pytest.mark.parametrize("moment", ["yesterday", 5, 5.5e300, True, None, [1], "2024-02-30", 10**400])
def test_an_event_time_that_is_none_is_refused_with_its_column_and_row(moment):
    rows = [{**ROW, "at": "2024-05-01"}, {**ROW, "at": moment}]
    with pytest.raises(SignatureError, match="'at'"):
        decoded(rows)
    columns = {name: [row[name] for row in rows] for name in (*ROW, "at")}
    with pytest.raises(SignatureError, match="'at'"):
        DECODER.of_mapping(columns)
    with pytest.raises(SignatureError, match="row 1"):
        decoded([{**ROW, "at": "2024-05-01"}, {**ROW, "at": "soon"}])


def test_a_model_without_event_time_refuses_it():
    with pytest.raises(SignatureError, match="'at' is not an input"):
        TableDecoder(WINE).of_records([{**ROW, "at": "2024-05-01"}])


WRONG = [
    ("alcohol", "12.5", "a number is due"),
    ("alcohol", None, "a number is due"),
    ("alcohol", True, "a number is due"),
    ("alcohol", [12.5], "a number is due"),
    ("alcohol", 1e39, "<="),
    ("alcohol", math.inf, "<="),
    ("alcohol", -math.inf, ">="),
    ("alcohol", math.nan, ">="),
    ("year", 2019.5, "a whole number is due"),
    ("year", 2**63, "<="),
    ("year", "2019", "a whole number is due"),
    ("grape", 7, "text is due"),
    ("grape", None, "text is due"),
    ("ph", "acid", "a number or null is due"),
    ("organic", 1, "true or false is due"),
]


@pytest.mark.parametrize(("column", "value", "said"), WRONG)
def test_a_wrong_cell_names_its_column_and_row(column, value, said):
    with pytest.raises(SignatureError) as caught:
        decoded([ROW, {**ROW, column: value}])
    assert f"column {column!r}" in str(caught.value)
    assert said in str(caught.value)
    with pytest.raises(SignatureError, match=f"column '{column}'"):
        DECODER.of_mapping({name: [value if name == column else cell] for name, cell in ROW.items()})


def test_missing_extra_and_unnamed_columns_are_named():
    with pytest.raises(SignatureError, match="'ph' is missing"):
        decoded([{k: v for k, v in ROW.items() if k != "ph"}])
    with pytest.raises(SignatureError, match="'colour' is not an input of this model"):
        decoded([{**ROW, "colour": "red"}])
    with pytest.raises(SignatureError, match=r"unnamed input is refused.*alcohol"):
        decoded([[12.5, "riesling", 2019, 3.5, True]])


def test_columns_of_different_length_are_named():
    with pytest.raises(SignatureError, match=r"'grape' has 2 rows.*'alcohol' has 1"):
        DECODER.of_mapping({name: [value] * (2 if name == "grape" else 1) for name, value in ROW.items()})


def test_no_rows_is_refused():
    with pytest.raises(SignatureError, match="no rows"):
        decoded([])
    with pytest.raises(SignatureError, match="no rows"):
        DECODER.of_mapping({name: [] for name in ROW})


def test_nullable_text_becomes_empty():
    signature = Signature("table", (Column("grape", "string", nullable=True),), WINE.outputs)
    found = TableDecoder(signature).of_records([{"grape": None}, {"grape": "merlot"}])
    assert found.batch["strings"].tolist() == [[""], ["merlot"]]
    assert found.cells == [(None,), ("merlot",)]
    assert "numbers" not in found.batch


def test_names_that_are_no_identifiers():
    signature = Signature("table", (Column("Alcohol (vol %)", "float64"), Column("pH.value", "int64")), WINE.outputs)
    decoder = TableDecoder(signature)
    body = msgspec.json.Decoder(list[decoder.row]).decode(b'[{"pH.value": 3, "Alcohol (vol %)": 12}]')
    assert decoder.of_rows(body).cells == [(12.0, 3)]
    with pytest.raises(SignatureError, match=r"column 'pH\.value' is refused"):
        decoder.of_records([{"Alcohol (vol %)": 1, "pH.value": "a"}])


def test_a_model_that_takes_fewer_columns_gets_its_own():
    smaller = Signature("table", (Column("ph", "float64", nullable=True), Column("alcohol", "float64")), WINE.outputs)
    project = projection(WINE, smaller)
    taken = project(decoded([ROW]).batch)
    assert set(taken) == {"numbers"}
    assert taken["numbers"].tolist() == [[3.5, 12.5]]
    assert projection(WINE, WINE) is None


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_every_float32_arrives_as_it_was_sent(values):
    signature = Signature("table", (Column("x", "float32"),), WINE.outputs)
    decoder = TableDecoder(signature)
    body = msgspec.json.encode([{"x": value} for value in values])
    found = decoder.of_rows(msgspec.json.Decoder(list[decoder.row]).decode(body))
    assert found.batch["numbers"][:, 0].tolist() == values


_AT_ONCE = """
import sys, threading
from headrace.models.signature import Column, Signature
from headrace.serving.request import TableDecoder
names = [f"c{number}" for number in range(40)]
due = Signature("table", tuple(Column(name, "float32") for name in names), (Column("y", "float32"),))
sys.setswitchinterval(1e-6)
for _ in range(150):
    decoder, gate = TableDecoder(due), threading.Barrier(4)
    def convert():
        gate.wait()
        decoder.of_mapping({name: [1.0] for name in names})
    threads = [threading.Thread(target=convert) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


def test_threads_that_meet_a_new_signature_at_once_end_nothing():
    assert subprocess.run([sys.executable, "-c", _AT_ONCE], timeout=60, check=False).returncode == 0
