import pytest

from headrace.delivery.deploy import Allowed, current, deploy
from headrace.delivery.promotion import promote
from headrace.engines.sqlite.ledger import SqliteLedger
from headrace.errors import NotFound, SettingsError, SignatureError, UsageError
from headrace.features.view import FeatureView, fact_of
from headrace.models.aliases import Move, aliases
from headrace.models.signature import Column, Signature
from headrace.models.version import ModelVersion
from headrace.serving.endpoint import Batching, Endpoint, Preference
from headrace.serving.join import Join
from headrace.serving.split import Split
from headrace.storage.ledger import Fact


def signature(*names):
    return Signature("table", tuple(Column(n, "float64") for n in names), (Column("good", "float32"),))


@pytest.fixture
def ledger(tmp_path):
    opened = SqliteLedger(tmp_path / "ledger.db")
    for name, number, columns in (("good", 1, "ab"), ("good", 2, "ab"), ("plain", 1, "a"), ("other", 1, "xy")):
        version = ModelVersion(name, number, f"{name}{number}", signature(*columns), "onnx")
        opened.append([Fact("model.version", name, version.to_json(), unique=str(version))])
    yield opened
    opened.close()


def endpoint(*schedule, **given):
    waits = tuple(Preference(model, wait_s) for model, wait_s in schedule or [("good@champion", 0.02)])
    return Endpoint(**{"name": "good", "schedule": waits, "deadline_s": 0.05, "default": {"good": 0.5}, **given})


def test_references_are_resolved_when_deployed(ledger):
    promote(ledger, "good@1", Move("champion", 0))
    made = deploy(ledger, endpoint(reference="plain"), who="ada", why="first", gates=("auc",))
    assert made.models == {"good@champion": "good@1", "plain": "plain@1"}
    promote(ledger, "good@2", Move("champion", 0))
    found, fact = current(ledger, "good")
    assert found == made.endpoint
    assert fact.body["models"]["good@champion"] == "good@1"
    assert (fact.body["who"], fact.body["why"], fact.body["gates"]) == ("ada", "first", ["auc"])


def test_the_same_again_adds_nothing_until_an_alias_moved(ledger):
    promote(ledger, "good@1", Move("champion", 0))
    first = deploy(ledger, endpoint())
    assert deploy(ledger, endpoint()) == first
    promote(ledger, "good@2", Move("champion", 0))
    moved = deploy(ledger, endpoint())
    assert moved.seq > first.seq
    assert deploy(ledger, endpoint(batching=Batching(max_batch_rows=64))).seq > moved.seq


@pytest.mark.parametrize(
    ("asked", "error", "says"),
    [
        (endpoint(), NotFound, "champion"),
        (endpoint(("gone@1", 0.02)), NotFound, "no model named 'gone'"),
        (endpoint(("good@1", 0.02), shadows=("other@1",)), SignatureError, "'x'"),
        (endpoint(("good@1", 0.02), default={}), UsageError, "no default for good"),
        (endpoint(("good@1", 0.02), default={"god": 0.5}), UsageError, "no default for good - .*, and has god"),
        (endpoint(("good@1", 0.02), default={"good": float("nan")}), SettingsError, "default of good is nan.*finite"),
        (
            endpoint(("good@1", 0.02), default={"good": 0.5, "bad": 0.1}),
            UsageError,
            "default for 'bad'.*good@1 answers good",
        ),
        (endpoint(("good@1", 0.02), deadline_s=float("inf")), SettingsError, "deadline_ms is inf"),
        (endpoint(("good@1", 0.02), ("good@1", 0.03)), UsageError, "names good@1 twice"),
        (endpoint(("good@1", 0.06)), UsageError, "after 50 ms"),
        (endpoint(("good@1", 0.0)), UsageError, "more than 0 ms"),
        (endpoint(("good@1", 0.02), batching=Batching(max_wait_s=0.05)), UsageError, "a fraction of deadline_ms"),
        (Endpoint("good", (), 0.05, {"good": 0.5}), UsageError, "no schedule"),
    ],
)
def test_what_cannot_be_served_is_refused(ledger, asked, error, says):
    with pytest.raises(error, match=says):
        deploy(ledger, asked)
    with pytest.raises(NotFound, match="no endpoint named 'good'"):
        current(ledger, "good")


def test_promotion_names_who_did_it(ledger):
    fact = promote(ledger, "good@2", Move("challenger", 0, why="for a try"))
    assert fact.body["who"]
    assert aliases(ledger, "good") == {"challenger": 2}
    with pytest.raises(NotFound):
        promote(ledger, "good@9", Move("champion", 0))


def test_callers_that_send_an_event_time_may_go_on_to(ledger):
    deploy(ledger, endpoint(("good@1", 0.02), event_time="at"))
    with pytest.raises(SignatureError, match="callers may send 'at' as the event time, it takes none"):
        deploy(ledger, endpoint(("good@2", 0.02)))
    assert deploy(ledger, endpoint(("good@2", 0.02)), allowed=Allowed(replace_signature=True)).models == {
        "good@2": "good@2"
    }


@pytest.mark.parametrize("name", ["c", "goodd"])
def test_a_masked_column_that_no_model_takes_is_refused(ledger, name):
    with pytest.raises(UsageError, match=f"cannot mask '{name}'.*they take a, b"):
        deploy(ledger, endpoint(("good@1", 0.02), mask=("a", name)))


def test_a_masked_event_time_is_refused(ledger):
    with pytest.raises(UsageError, match=r"cannot mask 'at'.*windows"):
        deploy(ledger, endpoint(("good@1", 0.02), event_time="at", mask=("at",)))


def test_what_may_be_masked(ledger):
    mask = ("A", "customer", "x-tenant")  # a split by a header may follow the deployment
    key = Split({"good@2": 0.5}, "customer")
    asked = endpoint(("good@1", 0.02), ("good@2", 0.02), split=key, mask=mask)
    assert deploy(ledger, asked).endpoint.mask == mask


def test_two_shares_of_one_version_are_refused(ledger):
    promote(ledger, "good@2", Move("challenger", 0))
    shares = Split({"good@2": 0.1, "good@challenger": 0.2})
    lines = (("good@1", 0.02), ("good@2", 0.02), ("good@challenger", 0.02))
    with pytest.raises(UsageError, match="gives good@2 two shares"):
        deploy(ledger, endpoint(*lines, split=shares))


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"shadows": ("gone@1",)}, "shadows"),
        ({"reference": "gone@1"}, "reference"),
        ({"standby": ("gone@1",)}, "standby"),
        ({"shadows": ("not/a/name",)}, "shadows"),
    ],
)
def test_a_model_that_is_not_there_is_said_with_the_setting_that_names_it(ledger, given, where):
    with pytest.raises((UsageError, NotFound), match=rf" - {where} of \[endpoint.good\] - "):
        deploy(ledger, endpoint(("good@1", 0.02), **given))


def viewed(ledger, **more):
    """Record a version of view ``v`` over key ``k`` with feature ``b``."""
    about = {"name": "v", "version": "1" * 64, "keys": {"k": "string"}, "columns": {"b": "float64"}, "rows": 1, **more}
    ledger.append([fact_of(FeatureView(**about))])


def test_a_join_is_deployed_over_the_view_as_it_is(ledger):
    viewed(ledger)
    asked = endpoint(("good@1", 0.02), join=(Join("v"),), mask=("k",))
    made = deploy(ledger, asked)
    assert made.endpoint.join == (Join("v", ("k",), "", (("k", "string"),), (("b", "float64"),)),)
    assert current(ledger, "good")[0] == made.endpoint
    assert deploy(ledger, asked).seq == made.seq
    viewed(ledger, version="2" * 64, columns={"b": "float64", "c": "float64"})
    assert deploy(ledger, asked).seq > made.seq


def test_a_join_that_cannot_be_made_is_not_deployed(ledger):
    asked = endpoint(("good@1", 0.02), join=(Join("v"),))
    with pytest.raises(NotFound, match=r"no feature view 'v' - join of \[endpoint.good\].*features materialize v"):
        deploy(ledger, asked)
    viewed(ledger, columns={"b": "string"})
    with pytest.raises(UsageError, match=r"cannot join 'b'.*float64, the view has string"):
        deploy(ledger, asked)
    with pytest.raises(NotFound, match="no endpoint"):
        current(ledger, "good")


def test_what_callers_send_may_not_change_unasked(ledger):
    """To join what callers send now, or to join no more, would have their requests refused."""
    viewed(ledger)
    deploy(ledger, endpoint(("good@1", 0.02)))
    joined = endpoint(("good@1", 0.02), join=(Join("v"),))
    with pytest.raises(SignatureError, match="callers send 'b', which it does not take"):
        deploy(ledger, joined)
    assert deploy(ledger, joined, allowed=Allowed(replace_signature=True)).endpoint.join
    with pytest.raises(SignatureError, match="callers send 'k', which it does not take"):
        deploy(ledger, endpoint(("good@1", 0.02)))
    # The next version of the model may need other features of the view: callers send the same.
    viewed(ledger, version="2" * 64, columns={"a": "float64", "b": "float64"})
    with pytest.raises(SignatureError, match="callers send 'a'"):
        deploy(ledger, joined)
