import pytest

from headrace.delivery.promotion import promote
from headrace.delivery.replay import KIND
from headrace.delivery.requirements import Requirements, read_requirements
from headrace.engines.sqlite.ledger import SqliteLedger
from headrace.errors import GateFailed, SettingsError
from headrace.models.aliases import Move, aliases
from headrace.models.signature import Column, Signature
from headrace.models.version import ModelVersion
from headrace.storage.ledger import Fact

SIGNATURE = Signature("table", (Column("a", "float64"),), (Column("y", "float32"),))
BOTH = {"requires": ["parity", "replay"], "replay": ["disagreement < 5%", "p99_ms < 1.5x champion"]}


@pytest.fixture
def ledger(tmp_path):
    opened = SqliteLedger(tmp_path / "ledger.db")
    for number, report in ((1, {}), (2, {"parity": {"rows": 64}})):
        version = ModelVersion("late", number, f"{number}", SIGNATURE, "onnx", report=report)
        opened.append([Fact("model.version", "late", version.to_json(), unique=str(version))])
    yield opened
    opened.close()


def replayed(ledger, *, disagreement=0.01, p99_ms=1.2, **about):
    numbers = {"disagreement": disagreement, "p99_ms": p99_ms}
    body = {"requests": 5000, "tolerance": 0.01, "numbers": numbers, "champion": {"p99_ms": 1.0}} | about
    ledger.append([Fact(KIND, "late@2", body)])


def test_a_version_that_has_shown_what_is_required_is_promoted_and_that_is_recorded(ledger):
    replayed(ledger)
    fact = promote(ledger, "late@2", Move("champion", 0, gates=("auc",)), read_requirements(BOTH))
    assert fact.body["gates"] == ["auc", "parity", "replay"]


@pytest.mark.parametrize(
    ("version", "facts", "says"),
    [
        ("late@1", None, "never compared"),
        ("late@2", None, "no logged requests yet"),
        ("late@2", {"disagreement": 0.2}, "disagreement < 5%: 20%"),
        ("late@2", {"p99_ms": 2.0}, "p99_ms < 1.5x champion: 2, champion 1"),
    ],
)
def test_a_version_that_has_not_is_refused_with_what_is_missing(ledger, version, facts, says):
    if facts is not None:
        replayed(ledger, **facts)
    with pytest.raises(GateFailed, match=says):
        promote(ledger, version, Move("champion", 0), read_requirements(BOTH))
    assert aliases(ledger, "late") == {}


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
        ({"replay": ["disagreement < 5%"]}, r"requires = \["),
    ],
)
def test_what_cannot_be_read_is_said(table, says):
    with pytest.raises(SettingsError, match=says):
        read_requirements(table)
