from dataclasses import replace

import pytest

from headrace.errors import SettingsError, SignatureError
from headrace.models.params import Param
from headrace.models.signature import Column, Signature
from headrace.serving.deployment import Deployment, contract
from headrace.serving.endpoint import Batching, Endpoint, Preference, read_endpoint
from headrace.storage.ledger import Fact

TABLE = {
    "deadline_ms": 50,
    "schedule": [{"model": "wine@champion", "wait_ms": 20}, {"model": "wine-linear@2", "wait_ms": 40}],
    "default": {"quality": 5.5},
    "shadows": ["wine@challenger", "wine@champion"],
    "reference": "wine-old@1",
    "event_time": "at",
    "log": "async",
    "max_batch_rows": 64,
    "max_wait_ms": 2.5,
    "max_queue_rows": 512,
}


def test_a_table_of_the_settings_file():
    found = read_endpoint("wine", TABLE)
    assert found.schedule == (Preference("wine@champion", 0.02), Preference("wine-linear@2", 0.04))
    assert found.models == ("wine@champion", "wine-linear@2", "wine@challenger", "wine-old@1")
    assert found.batching == Batching(max_batch_rows=64, max_wait_s=0.0025, max_queue_rows=512)
    assert Endpoint.from_json(found.to_json()) == found


def test_what_a_table_may_leave_out():
    found = read_endpoint("wine", {"deadline_ms": 50, "schedule": [{"model": "wine@1", "wait_ms": 20}]})
    assert (found.log, found.shadows, found.event_time) == ("durable", (), "")
    assert found.batching == Batching(max_batch_rows=256, max_wait_s=0, max_queue_rows=1024)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({**TABLE, "dedline_ms": 3}, "did you mean 'deadline_ms'"),
        ({k: v for k, v in TABLE.items() if k != "deadline_ms"}, "'deadline_ms' is missing"),
        ({k: v for k, v in TABLE.items() if k != "schedule"}, "'schedule' is missing"),
        ({**TABLE, "schedule": ["wine@1"]}, "cannot be read"),
        ({**TABLE, "deadline_ms": "50"}, "cannot be read"),
        ({**TABLE, "log": "always"}, "one of durable"),
        ({**TABLE, "deadline_ms": float("inf")}, r"deadline_ms is inf - \[endpoint.wine\]"),
        ({**TABLE, "deadline_ms": 0}, "deadline_ms is 0"),
        ({**TABLE, "default": {"quality": float("nan")}}, "default of quality is nan"),
        ({**TABLE, "default": {"quality": float("-inf")}}, "default of quality is -inf"),
        ({**TABLE, "default": {"quality": "5"}}, "default of quality is '5'"),
        ({**TABLE, "default": {"quality": True}}, "default of quality is True"),
        ({**TABLE, "shadows": "wine@2"}, "shadows is 'wine@2'.*a list of names"),
        ({**TABLE, "standby": "wine@2"}, "standby is 'wine@2'.*a list of names"),
        ({**TABLE, "schedule": [{"model": "wine@1", "wait_ms": 9, "weight": 3}]}, r"no weight.*split = \{"),
        ({**TABLE, "schedule": [{"model": "wine@1", "wait": 9}]}, "did you mean 'wait_ms'"),
        ({**TABLE, "max_batch_rows": 0}, r"max_batch_rows is 0 - \[endpoint.wine\] - a whole number from 1"),
        ({**TABLE, "max_batch_rows": 1.5}, "max_batch_rows is 1.5"),
        ({**TABLE, "max_batch_rows": True}, "max_batch_rows is True"),
        ({**TABLE, "max_queue_rows": "9"}, "max_queue_rows is '9'"),
        ({**TABLE, "max_queue_rows": 63}, "max_batch_rows = 64 could never wait there - fix: max_queue_rows = 256"),
        ({**TABLE, "max_wait_ms": -1}, "max_wait_ms is -1"),
        ({**TABLE, "max_wait_ms": float("nan")}, "max_wait_ms is nan"),
        ({**TABLE, "max_wait_ms": "2"}, "cannot be read"),
    ],
)
def test_a_table_that_cannot_be_read_says_why(table, said):
    with pytest.raises(SettingsError, match=said):
        read_endpoint("wine", table)


def test_a_deployment_reads_back_from_its_fact():
    deployment = Deployment(read_endpoint("wine", TABLE), {"wine@champion": "wine@3"}, "anna", "better", ("auc",))
    fact = Fact("endpoint.deployed", "wine", deployment.to_json(), at=12.0, seq=7)
    found = Deployment.from_fact(fact)
    assert (found.seq, found.at) == (7, 12.0)
    assert (found.endpoint, found.models, found.who, found.why, found.gates) == (
        deployment.endpoint,
        deployment.models,
        "anna",
        "better",
        ("auc",),
    )


OUT = (Column("quality", "float32"),)
PH = Column("ph", "float64", nullable=True)
FIRST = Signature("table", (Column("alcohol", "float64"), Column("grape", "string"), PH), OUT)


def test_models_share_an_endpoint_when_they_fit_the_first():
    smaller = Signature("table", (Column("grape", "string", nullable=True), PH), OUT)
    assert contract({"wine@1": FIRST, "wine-linear@1": smaller}) == FIRST


@pytest.mark.parametrize(
    "other",
    [
        Signature("table", (Column("colour", "string"),), OUT),
        Signature("table", (Column("alcohol", "int64"),), OUT),
        Signature("table", (Column("ph", "float64"),), OUT),
        Signature("table", FIRST.inputs, (Column("score", "float32"),)),
    ],
)
def test_models_that_do_not_fit_are_refused(other):
    with pytest.raises(SignatureError, match="wine-odd@1 cannot share an endpoint with wine@1"):
        contract({"wine@1": FIRST, "wine-odd@1": other})


def test_models_that_share_an_endpoint_share_types_of_params():
    factor, names = Param("factor", "float64", 1.0), Param("names", "string", [], many=True)
    first, other = replace(FIRST, params=(factor,)), replace(FIRST, params=(replace(factor, default=2.0), names))
    assert contract({"wine@1": first, "wine-more@1": other, "wine-none@1": FIRST}) == first
    for odd in (Param("factor", "int64", 1), Param("factor", "float64", [1.0], many=True)):
        with pytest.raises(SignatureError, match="wine-odd@1 cannot share an endpoint with wine@1 - params 'factor'"):
            contract({"wine@1": first, "wine-odd@1": replace(FIRST, params=(odd,))})


@pytest.mark.parametrize("name", ["authorization", "Authorization", "cookie"])
def test_a_secret_header_keys_no_split(name):
    table = {"schedule": [{"model": "late@1", "wait_ms": 1}], "deadline_ms": 50, "split_key": name}
    with pytest.raises(SettingsError, match="this header is a secret"):
        read_endpoint("late", table)
