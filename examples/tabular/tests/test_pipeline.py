"""Steps are plain functions: call them with small tables."""

import narwhals as nw
import pyarrow as pa
import pytest
from pipeline import INPUTS, Scores, features, good_enough, inputs


def orders(**columns: list[float]) -> nw.LazyFrame:
    return nw.from_native(pa.table({"amount": [30.0, 10.0], "items": [3, 1], **columns})).lazy()


def test_the_price_of_an_item_is_its_share_of_the_amount() -> None:
    assert features(orders()).collect()["item_price"].to_list() == [10.0, 10.0]


def test_the_outcome_is_no_input() -> None:
    assert "returned" not in INPUTS
    rows = orders(item_price=[1.0, 1.0], days_to_deliver=[1, 2], returned_before=[0, 1], returned=[0, 1])
    assert inputs(rows).collect_schema().names() == INPUTS


def test_a_worse_model_is_refused() -> None:
    with pytest.raises(AssertionError):
        good_enough(Scores(auc=0.71, log_loss=0.4), champion=Scores(auc=0.80, log_loss=0.3))
