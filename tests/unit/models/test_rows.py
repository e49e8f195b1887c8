"""Rows of a table as a model's batch: equal to what a request would have made, faults with their column and row."""

import decimal

import numpy as np
import pyarrow as pa
import pytest
from served import WINE

from headrace.errors import SignatureError
from headrace.models.rows import batch_of_rows, check_columns
from headrace.models.signature import Column, Signature
from headrace.serving.request import TableDecoder

ROWS = {
    "alcohol": [12.5, 9.1, 0.1 + 0.2],
    "grape": ["riesling", "", "pinot"],
    "year": [2019, -(2**40), 7],
    "ph": [3.5, None, 3.1],
    "organic": [True, False, True],
}


def batch(columns, signature=WINE, first=0):
    table = pa.table(columns)
    check_columns(signature, table.schema)
    return batch_of_rows(table.combine_chunks().to_batches()[0], signature, first)


def changed(**cells):
    return {**ROWS, **cells}


def test_a_batch_is_what_a_request_makes():
    due = TableDecoder(WINE).of_mapping(ROWS).batch
    shuffled = {name: ROWS[name] for name in reversed(ROWS)}
    found = batch({**shuffled, "extra": ["x"] * 3})
    assert found.keys() == due.keys()
    assert found["numbers"].dtype == due["numbers"].dtype == np.float64
    assert found["numbers"][:, :2].tolist() == [[12.5, 2019], [9.1, -(2**40)], [0.1 + 0.2, 7]]
    np.testing.assert_array_equal(found["numbers"], due["numbers"])
    assert found["strings"].tolist() == due["strings"].tolist()


@pytest.mark.parametrize(
    "year",
    [
        pa.array([2019, 2020, 2021], pa.int16()),
        pa.array([2019, 2020, 2021], pa.uint64()),
        pa.array([2019.0, 2020.0, 2021.0]),
        pa.array([decimal.Decimal(2019), decimal.Decimal(2020), decimal.Decimal(2021)]),
    ],
    ids=str,
)
def test_any_type_will_do_that_holds_the_values(year):
    assert batch(changed(year=year))["numbers"][:, 1].tolist() == [2019, 2020, 2021]


def test_text_may_be_a_dictionary_and_nan_is_null():
    grapes = pa.array(["riesling", "pinot", "riesling"]).dictionary_encode()
    found = batch(changed(grape=grapes, ph=[float("nan"), 1.0, None]))
    assert found["strings"].ravel().tolist() == ["riesling", "pinot", "riesling"]
    assert np.isnan(found["numbers"][:, 2]).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"alcohol": [1.0, None, 2.0]}, "column 'alcohol' is null - row 101"),
        ({"alcohol": [1.0, 2.0, float("nan")]}, "column 'alcohol' is null - row 102"),
        ({"alcohol": [float("inf"), 1.0, 2.0]}, "'alcohol' is refused - row 100 - .*inf.* is beyond float32"),
        ({"ph": [None, 1e39, 2.0]}, "'ph' is refused - row 101 - .*1e.39.* is beyond float32"),
        ({"year": [2019.0, 2020.0, 2020.5]}, "'year' is refused - row 102 - .*2020.5.* is no whole number"),
        ({"grape": [None, "a", "b"]}, "column 'grape' is null - row 100"),
        ({"grape": [1, 2, 3]}, "column 'grape' is refused - texts are due, the table has int64"),
        ({"alcohol": ["1", "2", "3"]}, "column 'alcohol' is refused - numbers are due, the table has string"),
        ({"organic": [0, 1, 1]}, "column 'organic' is refused - truth values are due"),
    ],
)
def test_faults_name_column_and_row(cells, said):
    with pytest.raises(SignatureError, match=said):
        batch(changed(**cells), first=100)


def test_missing_columns_are_named_with_what_is_there():
    with pytest.raises(
        SignatureError, match=r"columns 'grape', 'ph' are missing - .*the table has alcohol, year, organic"
    ):
        batch({name: ROWS[name] for name in ("alcohol", "year", "organic")})


@pytest.mark.parametrize(("dtype", "worst"), [("int32", 2**31), ("uint8", 256)])
def test_whole_numbers_stay_in_their_bounds(dtype, worst):
    signature = Signature("table", (Column("n", dtype),), (Column("y", "float32"),))
    assert batch({"n": [worst - 1]}, signature)["numbers"].tolist() == [[worst - 1]]
    with pytest.raises(SignatureError, match=f"out of range for {dtype}"):
        batch({"n": [worst]}, signature)
