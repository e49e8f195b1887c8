"""What a first version suggests, and what a project may state."""

import json

import narwhals as nw
import pyarrow as pa
import pytest

from headrace.datasets.contract import Contract, Expectations, expectations, infer
from headrace.datasets.profile import profile
from headrace.errors import SettingsError


def inferred(**columns):
    return infer(profile(nw.from_native(pa.table(columns))))


def test_what_a_first_version_suggests():
    contract = inferred(
        id=list(range(100)),
        price=[i / 2 for i in range(99)] + [None],
        change=[float(i - 50) for i in range(100)],
        state=["open", "closed"] * 50,
        note=[f"note {i}" for i in range(100)],
    )
    assert contract.columns["id"].unique
    assert not contract.columns["price"].unique
    assert (contract.columns["id"].nullable, contract.columns["price"].nullable) == (False, True)
    assert (contract.columns["price"].minimum, contract.columns["price"].maximum) == (0.0, pytest.approx(53.9))
    assert contract.columns["change"].minimum == pytest.approx(-59.9)
    assert contract.columns["state"].categories == ("closed", "open")
    assert contract.columns["note"].categories == ()
    assert Contract.from_json(json.loads(json.dumps(contract.to_json()))) == contract


def test_few_rows_suggest_neither_keys_nor_categories():
    contract = inferred(id=[1, 2, 3], state=["open", "open", "closed"])
    assert (contract.columns["id"].unique, contract.columns["state"].categories) == (False, ())


def test_every_statement_is_read():
    table = {
        "required": ["id"],
        "unique": ["id", ["shop", "day"]],
        "range": {"amount": {"min": 0}},
        "categories": {"state": ["open"]},
        "max_nulls": {"note": 0.5},
        "references": {"customer": "customers.id"},
        "max_unmatched": {"customer": 0.1},
    }
    stated = expectations({"orders": table}, "orders")
    assert stated.unique == (("id",), ("shop", "day"))
    assert stated.columns == {"id", "shop", "day", "amount", "state", "note", "customer"}
    assert expectations({"orders": table}, "others") == Expectations()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"requird": ["id"]}, "did you mean 'required'"),
        ({"required": "id"}, "list of texts"),
        ({"unique": "id"}, "a list is due"),
        ({"range": {"amount": 5}}, "min = "),
        ({"range": {"amount": {"least": 5}}}, "min = "),
        ({"max_nulls": {"note": 50}}, "share from 0 to 1"),
        ({"references": {"customer": "customers"}}, "like customers.id"),
        ({"max_unmatched": {"customer": 0.1}}, "without a reference"),
        (["id"], "a table is due"),
    ],
)
def test_statements_of_the_wrong_form_are_named(table, message):
    with pytest.raises(SettingsError, match=message):
        expectations({"orders": table}, "orders")
