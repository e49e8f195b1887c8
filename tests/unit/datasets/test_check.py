"""A check names every fault with its exact count, and nothing else."""

import pytest

from headrace.datasets.check import check
from headrace.datasets.contract import Expectations
from headrace.datasets.put import put
from headrace.errors import DataRefused

STATES = ["open", "closed"]


def orders(change=lambda i, row: row, rows=range(100)):
    header = ["id", "customer", "amount", "state", "note"]
    cells = [change(i, [i, f"c{i % 10}", i / 2, STATES[i % 2], ""]) for i in rows]
    return "\n".join(",".join(map(str, line)) for line in [header, *cells]) + "\n"


def found(report):
    return {(f.level, f.rule, f.column, f.count) for f in report.findings}


def with_cell(column, value, when):
    def change(i, row):
        return [*row[:column], value, *row[column + 1 :]] if when(i) else row

    return change


@pytest.fixture
def base(stores, csv):
    return put(stores, "orders", csv("base", orders()))


def test_the_version_that_made_the_contract_keeps_it(stores, base):
    report = check(stores, "orders")
    assert found(report) == {("dirt", "nulls", "note", 100)}
    assert report.ok
    (fact,) = stores.ledger.query("dataset.checked", "orders")[1:]
    assert fact.body["version"] == 1
    assert fact.body["ok"] is True


@pytest.mark.parametrize(
    ("change", "due"),
    [
        (with_cell(2, "", lambda i: i < 7), ("anomaly", "nulls", "amount", 7)),
        (with_cell(2, -1, lambda i: i < 3), ("anomaly", "range", "amount", 3)),
        (with_cell(2, 1000.5, lambda i: i == 5), ("anomaly", "range", "amount", 1)),
        (with_cell(3, "lost", lambda i: i % 10 == 0), ("anomaly", "categories", "state", 10)),
        (with_cell(0, 0, lambda i: i < 4), ("anomaly", "duplicates", "id", 3)),
        (with_cell(2, "nan", lambda i: i < 2), ("dirt", "nan", "amount", 2)),
    ],
)
def test_what_was_not_seen_before_is_an_anomaly(stores, base, csv, change, due):
    assert put(stores, "orders", csv("later", orders(change))).version == 2
    report = check(stores, "orders")
    assert found(report) == {due, ("dirt", "nulls", "note", 100)}


def test_more_of_the_same_is_no_finding(stores, base, csv):
    put(stores, "orders", csv("later", orders(rows=range(2, 109))))
    assert found(check(stores, "orders")) == {("dirt", "nulls", "note", 107)}


@pytest.mark.parametrize(
    ("stated", "due"),
    [
        ({"required": ("note",)}, ("broken", "nulls", "note", 100)),
        ({"max_nulls": {"note": 0.5}}, ("broken", "nulls", "note", 100)),
        ({"range": {"amount": {"max": 40}}}, ("broken", "range", "amount", 19)),
        ({"categories": {"state": ("open",)}}, ("broken", "categories", "state", 50)),
        ({"unique": (("customer",),)}, ("broken", "duplicates", "customer", 90)),
        ({"unique": (("customer", "state"),)}, ("broken", "duplicates", "customer, state", 90)),
        ({"required": ("absent",)}, ("broken", "missing", "absent", 0)),
    ],
)
def test_what_the_project_states_is_binding(stores, base, stated, due):
    report = check(stores, "orders", Expectations(**stated))
    assert due in found(report)
    assert not report.ok
    with pytest.raises(DataRefused, match="breaks its contract in 1 place"):
        report.enforce()


def test_a_broken_promise_is_an_alert_once(stores, base):
    stated = Expectations(required=("note",), range={"amount": {"max": 40}})
    for _ in range(2):
        check(stores, "orders", stated)
    raised = [fact.body["message"] for fact in stores.ledger.query("alert", "orders")]
    assert raised == ["100 nulls in 'note', which is required", "19 values of 'amount' above 40 (from 0 to 49.5)"]


def test_columns_are_binding_and_new_ones_are_told(stores, base, csv):
    with pytest.raises(DataRefused, match="'id' is String instead of Int64") as refused:
        put(stores, "orders", csv("texts", orders(with_cell(0, "x1", lambda i: i == 3))))
    assert refused.value.exit_code == 3
    extra = csv("extra", orders().replace("note\n", "note,extra\n").replace(",\n", ",,1\n"))
    put(stores, "orders", extra)
    assert ("anomaly", "extra", "extra", 0) in found(check(stores, "orders"))


def test_references_count_rows_without_a_match(stores, base, csv):
    stated = Expectations(references={"customer": "customers.name"})
    assert ("anomaly", "unchecked", "customer", 0) in found(check(stores, "orders", stated))
    put(stores, "customers", csv("customers", "name\n" + "".join(f"c{i}\n" for i in range(8))))
    report = check(stores, "orders", stated)
    (unmatched,) = [f for f in report.findings if f.rule == "unmatched"]
    assert (unmatched.level, unmatched.count, unmatched.share) == ("dirt", 20, 0.2)
    strict = Expectations(references={"customer": "customers.name"}, max_unmatched={"customer": 0.1})
    assert not check(stores, "orders", strict).ok
    wrong = Expectations(references={"id": "customers.name"})
    assert ("broken", "unmatched", "id", 0) in found(check(stores, "orders", wrong))


def test_nulls_match_nothing(stores, csv):
    put(stores, "customers", csv("customers", "name\na\n\n"))
    put(stores, "orders", csv("orders", "id,customer\n1,a\n2,\n3,b\n"))
    report = check(stores, "orders", Expectations(references={"customer": "customers.name"}))
    (unmatched,) = [f for f in report.findings if f.rule == "unmatched"]
    assert unmatched.count == 2
    assert "1 of them null" in unmatched.message
