import threading
from dataclasses import replace

import pytest

from headrace.delivery.deploy import Allowed, deploy
from headrace.delivery.promotion import promote
from headrace.delivery.requirements import Requirements
from headrace.delivery.rollback import rollback
from headrace.delivery.traffic import Said, prefer, split
from headrace.engines.sqlite.ledger import SqliteLedger
from headrace.errors import GateFailed, NotFound, SettingsError, SignatureError, UsageError
from headrace.models.aliases import Move, aliases, verify
from headrace.models.signature import Column, Signature
from headrace.models.version import ModelVersion
from headrace.serving.deployment import current, history
from headrace.serving.endpoint import Endpoint, Preference
from headrace.serving.split import WHOLE, Split
from headrace.storage.ledger import Fact


def signature(*names):
    return Signature("table", tuple(Column(n, "float64") for n in names), (Column("good", "float32"),))


@pytest.fixture
def ledger(tmp_path):
    opened = SqliteLedger(tmp_path / "ledger.db")
    for number in (1, 2, 3):
        version = ModelVersion("good", number, f"good{number}", signature("ab"), "onnx")
        opened.append([Fact("model.version", "good", version.to_json(), unique=str(version))])
    wide = ModelVersion("good", 4, "good4", signature("abc"), "onnx")
    opened.append([Fact("model.version", "good", wide.to_json(), unique=str(wide))])
    promote(opened, "good@1", Move("champion", 0))
    promote(opened, "good@2", Move("challenger", 0))
    yield opened
    opened.close()


def endpoint(front="good@champion", **given):
    about = {"schedule": (Preference(front, 0.02),), "deadline_s": 0.05, "default": {"good": 0.5}}
    return Endpoint(**{"name": "good", **about, **given})


def preferred(deployment):
    return [deployment.models[p.model] for p in deployment.endpoint.schedule]


def test_a_shadow_joins_the_schedule_with_its_share(ledger):
    deploy(ledger, endpoint(shadows=("good@challenger",)))
    made = split(ledger, "good", Split({"good@2": 0.05}, "customer"), Said("ada", "a try"))
    assert preferred(made) == ["good@1", "good@2"]
    assert made.endpoint.schedule[1].wait_s == 0.02
    assert made.endpoint.split == Split({"good@challenger": 0.05}, "customer")
    assert made.endpoint.shadows == ()
    assert (made.who, made.why, made.seq) == ("ada", "a try", current(ledger, "good").seq)
    ended = split(ledger, "good", WHOLE)
    assert (ended.endpoint.split, preferred(ended)) == (WHOLE, ["good@1", "good@2"])


def test_a_split_does_not_follow_an_alias_that_moved_on_meanwhile(ledger):
    deploy(ledger, endpoint(shadows=("good@challenger",)))
    promote(ledger, "good@3", Move("champion", 0))
    assert preferred(split(ledger, "good", Split({"good@2": 0.5}))) == ["good@1", "good@2"]


def test_what_is_not_loaded_gets_no_share_and_is_not_preferred(ledger):
    before = deploy(ledger, endpoint())
    with pytest.raises(UsageError, match=r"has not loaded good@2"):
        split(ledger, "good", Split({"good@2": 0.05}))
    with pytest.raises(UsageError, match=r"has not loaded good@2"):
        prefer(ledger, "good", "good@challenger")
    with pytest.raises(NotFound):
        split(ledger, "good", Split({"good@9": 0.05}))
    with pytest.raises(NotFound, match="no endpoint"):
        split(ledger, "none", Split({"good@1": 0.05}))
    with pytest.raises(SettingsError):
        split(ledger, "good", Split({"good@1": 0.6, "good@champion": 0.6}))
    assert current(ledger, "good") == before
    assert aliases(ledger, "good")["champion"] == 1


@pytest.mark.parametrize("key", ["Authorization", "cookie", "proxy-authorization"])
def test_a_secret_header_keys_no_split_however_it_is_asked_for(ledger, key):
    before = deploy(ledger, endpoint(shadows=("good@2",)))
    with pytest.raises(SettingsError, match="this header is a secret"):
        split(ledger, "good", Split({"good@2": 0.05}, key))
    assert current(ledger, "good") == before


def test_promotion_moves_the_alias_that_the_schedule_prefers(ledger):
    deploy(ledger, endpoint(shadows=("good@challenger",)))
    split(ledger, "good", Split({"good@challenger": 0.25}))
    made = prefer(ledger, "good", "good@challenger", Said("ada", "it is better"))
    assert preferred(made) == ["good@2"]
    assert made.endpoint == endpoint()
    assert aliases(ledger, "good") == {"champion": 2, "challenger": 2}
    assert deploy(ledger, endpoint()) == made  # the file still says the same


def test_a_version_that_is_named_is_replaced_by_name(ledger):
    deploy(ledger, endpoint("good@1", standby=("good@2",)))
    assert preferred(prefer(ledger, "good", "good@2")) == ["good@2"]
    assert aliases(ledger, "good")["champion"] == 1


def test_promotion_asks_what_the_project_requires(ledger):
    before = deploy(ledger, endpoint(shadows=("good@challenger",)))
    with pytest.raises(GateFailed):
        prefer(ledger, "good", "good@2", requirements=Requirements(("parity",)))
    assert (current(ledger, "good"), aliases(ledger, "good")["champion"]) == (before, 1)


def test_rollback_brings_back_versions_and_aliases(ledger):
    first = deploy(ledger, endpoint(shadows=("good@challenger",)))
    prefer(ledger, "good", "good@2")
    back = rollback(ledger, "good", said=Said("ada", "worse after all"))
    assert (back.endpoint, back.models, back.restores) == (first.endpoint, first.models, first.seq)
    assert aliases(ledger, "good")["champion"] == 1
    assert (back.who, back.why) == ("ada", "worse after all")


def test_rollbacks_go_further_back_each_time_and_can_be_taken_back(ledger):
    made = [deploy(ledger, endpoint(f"good@{number}")) for number in (1, 2, 3)]
    assert preferred(rollback(ledger, "good")) == ["good@2"]
    assert preferred(rollback(ledger, "good")) == ["good@1"]
    with pytest.raises(NotFound, match="no earlier deployment"):
        rollback(ledger, "good")
    assert preferred(rollback(ledger, "good", made[2].seq)) == ["good@3"]
    with pytest.raises(NotFound, match="no deployment 999"):
        rollback(ledger, "good", 999)


def test_what_was_rolled_back_from_does_not_come_back_by_the_next_rollback(ledger):
    for number in (1, 2):
        deploy(ledger, endpoint(f"good@{number}"))
    rollback(ledger, "good")
    deploy(ledger, endpoint("good@3"))
    assert preferred(rollback(ledger, "good")) == ["good@1"]


def test_rollback_across_a_signature_says_so(ledger):
    deploy(ledger, endpoint("good@1"))
    deploy(ledger, endpoint("good@4"), allowed=Allowed(replace_signature=True))
    assert rollback(ledger, "good").replace_signature


def test_changes_at_once_follow_one_another(ledger):
    deploy(ledger, endpoint("good@1", standby=("good@2", "good@3")))
    count = 8
    start = threading.Barrier(count)
    errors = []

    def change(number):
        start.wait()
        try:
            split(ledger, "good", Split({f"good@{2 + number % 2}": 0.01 * (number + 1)}))
        except Exception as error:  # noqa: BLE001 - told to the test
            errors.append(error)

    threads = [threading.Thread(target=change, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    deployments = history(ledger, "good")
    assert len(deployments) == count + 1
    # Each knew the one before it: a version that joined the schedule is never lost.
    assert set(preferred(deployments[-1])) == {"good@1", "good@2", "good@3"}


def test_two_names_of_one_version_get_no_two_shares(ledger):
    deploy(ledger, endpoint(shadows=("good@challenger",)))
    with pytest.raises(UsageError, match="good@2 is given two shares"):
        split(ledger, "good", Split({"good@2": 0.1, "good@challenger": 0.2}))


def test_an_alias_stays_where_it_is_when_the_promotion_is_refused(ledger):
    wide = ModelVersion("good", 5, "good5", signature("ab", "c"), "onnx")
    ledger.append([Fact("model.version", "good", wide.to_json(), unique=str(wide))])
    promote(ledger, "good@5", Move("champion", 0))
    before = deploy(ledger, endpoint(shadows=("good@1",)))
    with pytest.raises(SignatureError, match="would break its callers"):
        prefer(ledger, "good", "good@1")
    assert aliases(ledger, "good")["champion"] == 5
    assert current(ledger, "good") == before


def test_settings_that_know_nothing_of_a_split_do_not_end_it_unasked(ledger):
    asked = endpoint(shadows=("good@challenger",))
    deploy(ledger, asked)
    standing = split(ledger, "good", Split({"good@2": 0.05}))
    with pytest.raises(UsageError, match=r"is split: good@2 5 % .*headrace serving split good --end first.*--force"):
        deploy(ledger, asked)
    assert current(ledger, "good") == standing
    said = endpoint("good@1", standby=(), split=Split({"good@2": 0.2}))
    both = (Preference("good@1", 0.02), Preference("good@2", 0.02))
    grown = deploy(ledger, replace(said, schedule=both))  # its settings say what becomes of the split
    assert grown.endpoint.split == Split({"good@2": 0.2})
    assert deploy(ledger, asked, allowed=Allowed(end_traffic=True)).endpoint.split == WHOLE


def test_what_is_preferred_anyway_is_given_no_share(ledger):
    deploy(ledger, endpoint(shadows=("good@challenger",)))
    with pytest.raises(UsageError, match=r"cannot give good@1 a share .* its schedule prefers it"):
        split(ledger, "good", Split({"good@1": 0.5}))


def test_a_version_takes_over_and_its_alias_moves_in_one_write(ledger):
    deploy(ledger, endpoint(shadows=("good@challenger",)))
    made = prefer(ledger, "good", "good@2")
    moved = ledger.query("alias.moved", "good")[-1]
    assert (moved.seq, moved.body["alias"], moved.body["version"]) == (made.seq + 1, "champion", 2)
    back = rollback(ledger, "good")
    moved = ledger.query("alias.moved", "good")[-1]
    assert (moved.seq, moved.body["alias"], moved.body["version"]) == (back.seq + 1, "champion", 1)
    assert verify(ledger, "good") == len(ledger.query("alias.moved", "good"))
