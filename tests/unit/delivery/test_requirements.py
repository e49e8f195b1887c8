import pytest

from headrace.delivery.canary import Plan, begin
from headrace.delivery.deploy import deploy
from headrace.delivery.promotion import promote
from headrace.delivery.replay import KIND
from headrace.delivery.requirements import Requirements, read_requirements
from headrace.delivery.traffic import NOBODY, prefer
from headrace.engines.sqlite.ledger import SqliteLedger
from headrace.errors import GateFailed, SettingsError
from headrace.models.aliases import Move, aliases, move
from headrace.models.signature import Column, Signature
from headrace.models.version import ModelVersion
from headrace.serving.endpoint import Endpoint, Preference
from headrace.storage.ledger import Fact

SIGNATURE = Signature("table", (Column("a", "float64"),), (Column("y", "float32"),))
BOTH = {"requires": ["parity", "replay"], "replay": ["disagreement < 5%", "p99_ms < 1.5x champion"]}


def served(model, **more):
    return Endpoint("late", (Preference(model, 0.02),), 0.05, {"y": 0.5}, **more)


@pytest.fixture
def ledger(tmp_path):
    opened = SqliteLedger(tmp_path / "ledger.db")
    for number, report in ((1, {}), (2, {"parity": {"rows": 64}})):
        version = ModelVersion("late", number, f"{number}", SIGNATURE, "onnx", report=report)
        opened.append([Fact("model.version", "late", version.to_json(), unique=str(version))])
    move(opened, "late", Move("champion", 1))
    deploy(opened, served("late@champion"))
    yield opened
    opened.close()


def replayed(ledger, *, disagreement=0.01, p99_ms=1.2, **about):
    numbers = {"disagreement": disagreement, "p99_ms": p99_ms}
    where = {"endpoint": "late", "digest": "2", "beside": "late@1", "answered_by": {"late@1": 5000}}
    body = {"requests": 5000, "tolerance": 0.01, "numbers": numbers, "champion": {"p99_ms": 1.0}} | where | about
    ledger.append([Fact(KIND, "late@2", body)])


def test_a_version_that_has_shown_what_is_required_is_promoted_and_that_is_recorded(ledger):
    replayed(ledger)
    fact = promote(ledger, "late@2", Move("champion", 0, gates=("auc",)), read_requirements(BOTH))
    assert fact.body["gates"] == ["auc", "parity", "replay"]


@pytest.mark.parametrize(
    ("version", "facts", "says"),
    [
        ("late@1", None, "never compared.*headrace models import"),
        ("late@2", None, "no logged requests yet.*headrace serving replay late --model late@2"),
        ("late@2", {"disagreement": 0.2}, "disagreement < 5%: 20%"),
        ("late@2", {"p99_ms": 2.0}, "p99_ms < 1.5x champion: 2, champion 1"),
    ],
)
def test_a_version_that_has_not_is_refused_with_what_is_missing(ledger, version, facts, says):
    if facts is not None:
        replayed(ledger, **facts)
    with pytest.raises(GateFailed, match=says):
        promote(ledger, version, Move("champion", 0), read_requirements(BOTH))
    assert aliases(ledger, "late") == {"champion": 1}


@pytest.mark.parametrize(
    ("about", "says"),
    [({"requests": 12}, "requests >= 1000: 12"), ({"tolerance": 9.0}, "tolerance <= 0.01: 9"), ({}, "")],
)
def test_a_replay_that_looked_at_little_or_tolerated_all_shows_nothing(ledger, about, says):
    strict = read_requirements({"requires": ["replay"], "replay": ["requests >= 1000", "tolerance <= 0.01"]})
    replayed(ledger, **about)
    if not says:
        assert promote(ledger, "late@2", Move("champion", 0), strict).body["version"] == 2
        return
    with pytest.raises(GateFailed, match=says):
        promote(ledger, "late@2", Move("champion", 0), strict)


def test_the_newest_replay_counts(ledger):
    replayed(ledger, disagreement=0.01)
    replayed(ledger, disagreement=0.5)
    with pytest.raises(GateFailed):
        promote(ledger, "late@2", Move("champion", 0), read_requirements(BOTH))


ONE = read_requirements({"requires": ["replay"]})


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ({"endpoint": "other"}, "no logged requests yet.*a replay beside late@1.*replay late --model late@2"),
        ({"digest": "9"}, "was of other files"),
        ({"beside": "late@3"}, "newest replay on endpoint late was beside late@3"),
        ({"beside": ""}, "beside no deployed model"),
        ({"answered_by": {"late@3": 5000}}, "met no request that late@1 had answered"),
    ],
)
def test_a_replay_counts_for_this_endpoint_these_files_and_what_would_be_replaced(ledger, about, says):
    replayed(ledger, **about)
    for take_over in (
        lambda: promote(ledger, "late@2", Move("champion", 0), ONE),
        lambda: prefer(ledger, "late", "late@2", requirements=ONE),
        lambda: begin(ledger, "late", "late@2", Plan(("5%",), 60.0), NOBODY, ONE),
    ):
        deploy(ledger, served("late@champion", shadows=("late@2",)))
        with pytest.raises(GateFailed, match=says):
            take_over()
    replayed(ledger)
    assert begin(ledger, "late", "late@2", Plan(("5%",), 60.0), NOBODY, ONE).gates == ("replay",)


def test_a_replay_beside_who_was_champion_then_is_stale(ledger):
    replayed(ledger)
    version = ModelVersion("late", 3, "3", SIGNATURE, "onnx")
    ledger.append([Fact("model.version", "late", version.to_json(), unique="late@3")])
    move(ledger, "late", Move("champion", 3))
    deploy(ledger, served("late@champion"))
    with pytest.raises(GateFailed, match=r"beside late@1, and `requires` asks for a replay beside late@3"):
        promote(ledger, "late@2", Move("champion", 0), ONE)


def test_where_no_endpoint_prefers_the_alias_the_replay_is_held_against_what_it_names(ledger):
    deploy(ledger, served("late@2"))
    replayed(ledger, beside="late@2")
    with pytest.raises(GateFailed, match="a replay beside late@1"):
        promote(ledger, "late@2", Move("champion", 0), ONE)
    replayed(ledger, endpoint="another")
    assert promote(ledger, "late@2", Move("champion", 0), ONE).body["gates"] == ["replay"]


def test_the_first_that_an_alias_ever_names_is_held_against_what_serves_if_anything_does(ledger):
    named = read_requirements({"requires": ["replay"], "aliases": ["live"]})
    with pytest.raises(GateFailed, match="a replay beside late@1"):
        promote(ledger, "late@2", Move("live", 0), named)
    other = ModelVersion("new", 1, "1", SIGNATURE, "onnx")
    ledger.append([Fact("model.version", "new", other.to_json(), unique="new@1")])
    assert promote(ledger, "new@1", Move("live", 0), named).body["version"] == 1


@pytest.mark.parametrize("parity", [{}, {"rows": 0}, {"rows": 9, "max_difference": 0.2, "tolerance": 0.1}])
def test_a_comparison_that_failed_or_saw_no_row_is_none(ledger, parity):
    version = ModelVersion("late", 3, "3", SIGNATURE, "onnx", report={"parity": parity})
    ledger.append([Fact("model.version", "late", version.to_json(), unique="late@3")])
    with pytest.raises(GateFailed, match="never compared"):
        promote(ledger, "late@3", Move("champion", 0), read_requirements({"requires": ["parity"]}))


def test_other_aliases_are_free(ledger):
    assert promote(ledger, "late@1", Move("challenger", 0), read_requirements(BOTH)).body["gates"] == []
    named = read_requirements({**BOTH, "aliases": ["live"]})
    assert promote(ledger, "late@1", Move("champion", 0), named).body["version"] == 1


def test_nothing_is_required_unless_said():
    assert read_requirements({}) == Requirements()


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"require": ["parity"]}, "did you mean 'requires'"),
        ({"requires": ["luck"]}, "nothing is required as 'luck'.*parity, replay"),
        ({"requires": "parity"}, "a list of texts is due"),
        ({"requires": ["replay"], "replay": ["speed > 1"]}, "nothing measures 'speed'"),
        ({"requires": ["replay"], "replay": ["disagreement < 5"]}, "never or always true.*disagreement < 1%"),
        ({"replay": ["disagreement < 5%"]}, r"requires = \["),
    ],
)
def test_what_cannot_be_read_is_said(table, says):
    with pytest.raises(SettingsError, match=says):
        read_requirements(table)
