import json
import os
import shutil
import threading
import time

import polars as pl
import pytest
import served_functions
from served import Gated
from wine_project import COLUMNS, ROW, asking, until

from headrace.delivery.deploy import Allowed, deploy
from headrace.errors import HeadraceError, NotFound, SignatureError, Unavailable
from headrace.models.aliases import Move, move
from headrace.models.registry import Registration, register
from headrace.sdk.functions import serve_function
from headrace.serving import ledger_source
from headrace.serving.deployment import KIND, current
from headrace.serving.endpoint import Endpoint, Preference
from headrace.serving.folder_source import FolderSource
from headrace.serving.keeper import Keeper
from headrace.serving.ledger_source import LedgerSource
from headrace.serving.scratch import Scratch
from headrace.storage.ledger import Fact


@pytest.fixture
def follow(project, tmp_path):
    """Start a gateway that follows the ledger; its ``keeper`` is an attribute of what is returned."""
    started = []

    def start(names=("wine",), beside=(), behind=()):
        gate = Gated(tmp_path / "stream", names)
        platform, post = project.platform, gate.loop.call_soon_threadsafe
        source = LedgerSource(
            ledger=platform.ledger(),
            files=platform.files(),
            runtime=platform.runtime,
            moved=lambda *move: post(gate.plane.move, *move),
            names=names,
        )
        gate.keeper = Keeper(gate.plane, [*beside, source, *behind], post=post)
        started.append(gate)
        gate.keeper.start()
        return gate

    yield start
    for gate in started:
        gate.keeper.stop()
        gate.close()


def model_ready(gate):
    return gate.client.request("GET", "/v2/models/wine/ready").status == 200


def serves(gate):
    return gate.client.predict("wine", rows=[ROW]).winner


def meanwhile(gate):
    """Who serves; nobody while models are exchanged in place."""
    try:
        return serves(gate)
    except Unavailable:
        return ""


def test_the_newest_deployment_is_served_and_a_newer_one_follows(project, follow):
    first, second = project.register(0.5), project.register(1.5)
    project.deploy(first)
    gate = follow()
    until(gate.client.ready)
    assert serves(gate) == "wine@1"
    project.deploy(second)
    begun = time.monotonic()
    until(lambda: serves(gate) == "wine@2")
    assert time.monotonic() - begun < 2  # polled every 100 ms
    until(lambda: gate.keeper.loaded == ["wine@2"])


def test_an_endpoint_that_is_deployed_later_becomes_ready(project, follow):
    gate = follow()
    assert not gate.client.ready()
    project.deploy(project.register(0.5))
    until(gate.client.ready)
    assert serves(gate) == "wine@1"


def test_only_the_named_endpoints_are_served(project, follow):
    version = project.register(0.5)
    project.deploy(version)
    project.deploy(version, endpoint="other")
    gate = follow(names=("other",))
    until(gate.client.ready)
    assert gate.plane.names == ("other",)


@pytest.mark.parametrize(
    "broken", ["truncated", "flipped", "parity", "cold", "schema", "missing", "incomplete", "malformed"]
)
def test_a_broken_version_never_displaces_a_good_one(project, follow, broken):
    good = project.register(0.5)
    project.deploy(good)
    gate = follow()
    until(gate.client.ready)
    columns = dict(list(COLUMNS.items())[:2]) if broken == "schema" else COLUMNS
    claimed = 1.0 if broken == "parity" else 0.0
    bad = project.register(1.5, claimed=claimed, columns=columns, cold=broken == "cold")
    if broken in {"flipped", "truncated"}:
        path = project.model_file(bad)
        path.chmod(0o600)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        if broken == "truncated":
            del content[len(content) // 2 :]
        path.write_bytes(bytes(content))
    ledger = project.platform.ledger()
    body = current(ledger, "wine").to_json()
    written = {
        "missing": body | {"models": {"wine@1": "wine@99"}},
        "incomplete": body | {"models": {}},
        "malformed": {},
        "schema": body | {"models": {"wine@1": str(bad)}},
    }
    if broken in written:  # as no command of ours writes it
        ledger.append([Fact(KIND, "wine", written[broken])])
    else:
        project.deploy(bad)
    with asking(gate.client) as winners:
        until(lambda: gate.plane.status("wine").refused)
        begun = len(winners)
        until(lambda: len(winners) > begun)
    assert set(winners) == {"wine@1"}
    status = gate.plane.status("wine")
    assert (status.state, status.versions["wine@1"].state) == ("serving", "available")
    if broken not in {"incomplete", "malformed"}:  # those name no version
        note = status.versions[written[broken]["models"]["wine@1"] if broken in written else str(bad)]
        assert note.state == "failed"
        assert note.why in status.refused
    better = str(project.register(2.5))
    ledger.append([Fact(KIND, "wine", body | {"models": {"wine@1": better}})])
    until(lambda: serves(gate) == better)


def test_a_version_whose_worker_dies_in_its_warm_up_displaces_nothing(project, follow):
    project.deploy(project.register(0.5))
    gate, stores = follow(), project.platform.stores()
    until(gate.client.ready)
    asked = Registration("wine", pl.DataFrame(COLUMNS), "CC0-1.0")
    bad = register(stores, serve_function(served_functions.crash, outputs=("quality",)), asked)
    with asking(gate.client) as winners:
        project.deploy(bad)
        until(lambda: "killed by signal 11" in gate.plane.status("wine").refused)
        begun = len(winners)
        until(lambda: len(winners) > begun)
        assert gate.plane.status("wine").versions["wine@2"].state == "failed"
        project.deploy(project.register(2.5))
        until(lambda: gate.plane.status("wine").models.keys() == {"wine@3"})
    assert set(winners) <= {"wine@1", "wine@3"}
    until(lambda: gate.keeper.loaded == ["wine@3"])


@pytest.mark.parametrize("broken", ["parity", "schema"])
def test_however_many_are_refused_the_live_one_stays(project, follow, broken):
    project.deploy(project.register(0.5))
    columns = dict(list(COLUMNS.items())[:2]) if broken == "schema" else COLUMNS
    bad = project.register(1.5, claimed=1.0 if broken == "parity" else 0.0, columns=columns)
    gate, ledger = follow(), project.platform.ledger()
    until(gate.client.ready)
    body = current(ledger, "wine").to_json() | {"models": {"wine@1": str(bad)}}
    with asking(gate.client) as winners:
        for _ in range(45):
            (newest,) = ledger.append([Fact(KIND, "wine", body)])
        until(lambda: f"deployment {newest.seq}: " in gate.plane.status("wine").refused)
        begun = len(winners)
        until(lambda: len(winners) > begun)
    assert set(winners) == {"wine@1"}
    late = follow()  # one that starts now comes to the same
    until(late.client.ready)
    until(lambda: f"deployment {newest.seq}: " in late.plane.status("wine").refused)
    assert serves(late) == "wine@1"


def test_deployments_to_fall_back_on_are_never_used_up(project):
    versions = [project.register(float(bias)) for bias in range(2)]
    seqs = [project.deploy(versions[turn % 2]).seq for turn in range(50)]
    platform = project.platform
    about = {"ledger": platform.ledger(), "files": platform.files(), "runtime": platform.runtime}
    source = LedgerSource(**about, moved=lambda *_: None)
    source.poll()
    tried = []
    while (aspired := source.aspired("wine")) is not None:
        tried.append(aspired.deployment.seq)
        source.failed(aspired, "", SignatureError("of no use"))
    assert tried == seqs[::-1]


def test_what_was_read_before_a_ledger_went_away_is_followed_once_it_answers(project, monkeypatch):
    ledger = project.platform.ledger()
    project.deploy(project.register(0.0))
    source = LedgerSource(ledger=ledger, files=None, runtime=None, moved=lambda *_: None)

    def asked(kind, *args, **named):
        if kind == "alias.moved":
            raise Unavailable("the ledger is away")
        return query(kind, *args, **named)

    query = ledger.query
    with monkeypatch.context() as away:
        away.setattr(ledger, "query", asked)
        with pytest.raises(Unavailable):
            source.poll()
    assert source.poll() == ("wine",)
    assert source.poll() == ()


def test_a_ledger_that_is_away_or_hangs_is_told_of_until_it_answers(project, monkeypatch, capsys):
    monkeypatch.setattr(ledger_source, "_PATIENCE_S", 0.0)
    ledger, said = project.platform.ledger(), []

    def asked(*_, **__):
        said.append(source.trouble)
        raise Unavailable("the ledger is away")

    source = LedgerSource(ledger=ledger, files=None, runtime=None, moved=lambda *_: None)
    with monkeypatch.context() as away:
        away.setattr(ledger, "query", asked)
        for _ in range(2):
            with pytest.raises(Unavailable):
                source.poll()
    assert said == ["the ledger does not answer", "the ledger is away"]
    assert source.trouble == "the ledger is away"
    source.poll()
    assert source.trouble == ""
    assert capsys.readouterr().err == "deployments are followed again\n"


def test_another_signature_is_served_only_on_purpose(project, follow):
    project.deploy(project.register(0.5))
    other = project.register(1.5, columns=dict(list(COLUMNS.items())[:2]))
    with pytest.raises(SignatureError, match=r"callers send 'ph', which it does not take.*--replace-signature"):
        project.deploy(other)
    ledger = project.platform.ledger()
    ledger.append([Fact(KIND, "wine", current(ledger, "wine").to_json() | {"models": {"wine@1": str(other)}})])
    gate = follow()  # one that starts late goes by the same rule
    until(gate.client.ready)
    until(lambda: "--replace-signature" in gate.plane.status("wine").refused)
    assert serves(gate) == "wine@1"
    asked = Endpoint("wine", (Preference(str(other), 0.02),), 0.05, {"quality": 5.0})
    assert deploy(ledger, asked, allowed=Allowed(replace_signature=True)).replace_signature
    until(lambda: gate.plane.status("wine").models.keys() == {"wine@2"})
    assert gate.plane.status("wine").refused == ""


def test_a_restart_on_a_broken_deployment_serves_the_one_before(project, follow):
    project.deploy(project.register(0.5))
    project.deploy(project.register(1.5, claimed=1.0))
    gate = follow()
    until(gate.client.ready)
    assert serves(gate) == "wine@1"
    until(lambda: "does not answer as the trained model did" in gate.plane.status("wine").refused)
    project.deploy(project.register(2.5))
    until(lambda: serves(gate) == "wine@3")
    assert gate.plane.status("wine").refused == ""


@pytest.mark.slow
def test_many_flips_under_load_fail_nothing_and_mix_nothing(project, follow, figure):
    """Every reply is the answer of the version that it names, and no thread is left over.

    The deadline is one that a machine which stands still for a moment does not pass: what a swap costs answers at once.
    """
    swaps = 1000 if os.environ.get("HEADRACE_SOAK") else 50
    versions = [project.register(float(bias)) for bias in range(3)]
    project.deploy(versions[0], deadline_s=5.0)
    gate = follow()
    until(gate.client.ready)
    due = {f"wine@{bias + 1}": project.answer(bias) for bias in range(3)}
    wrong, seen, stop = [], set(), threading.Event()

    def ask():
        while not stop.is_set():
            try:
                answer = gate.client.predict("wine", rows=[ROW])
            except HeadraceError as error:
                wrong.append(error)
                continue
            seen.add(answer.winner)
            if answer.values != pytest.approx([due.get(answer.winner)], abs=1e-3):
                wrong.append(answer)

    before = threading.active_count()
    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for swap in range(1, swaps + 1):
        project.deploy(versions[swap % 3], deadline_s=5.0)
        until(lambda swap=swap: gate.plane.status("wine").models.keys() == {str(versions[swap % 3])})
    stop.set()
    for thread in threads:
        thread.join()
    figure("serving.swap_failed", len(wrong))
    assert wrong == []
    assert seen == set(due)
    until(lambda: threading.active_count() <= before + 1 and len(gate.keeper.loaded) == 1)


def test_aliases_become_labels_once_their_version_is_loaded(project, follow):
    first, second = project.register(0.5), project.register(1.5)
    ledger = project.platform.ledger()
    move(ledger, "wine", Move("champion", 1))
    project.deploy(first)
    gate = follow()
    until(gate.client.ready)

    def champion():
        reply = gate.client.request("GET", "/v1/models/wine/labels/champion")
        return json.loads(reply.body).get("model_version_status", [{}])[0].get("version")

    until(lambda: champion() == "1")
    move(ledger, "wine", Move("champion", 2))
    until(lambda: gate.plane._aliases["wine", "champion"] == [1, 2])
    assert champion() == "1"
    project.deploy(second)
    until(lambda: champion() == "2")


def version_state(gate, number):
    reply = gate.client.request("GET", f"/v1/models/wine/versions/{number}")
    return json.loads(reply.body)["model_version_status"][0]["state"] if reply.status == 200 else reply.status


def test_a_version_on_standby_answers_only_who_asks_for_it(project, follow):
    first, second = project.register(0.5), project.register(1.5)
    project.deploy(second, standby=(str(first),))
    gate = follow()
    until(gate.client.ready)
    assert serves(gate) == "wine@2"
    assert gate.client.predict("wine", rows=[ROW], version=1).winner == "wine@1"
    assert gate.plane.status("wine").models.keys() == {"wine@2"}
    assert version_state(gate, 1) == "AVAILABLE"
    move(project.platform.ledger(), "wine", Move("stable", 1))
    until(lambda: gate.client.request("GET", "/v1/models/wine/labels/stable").status == 200)
    gate.client.predict("wine", rows=[ROW])
    assert gate.plane.counters["wine"].scorers["wine@1"].scored == 1


def test_resource_preserving_unloads_before_it_loads_and_goes_back_when_that_fails(project, follow):
    policy = "resource-preserving"
    project.deploy(project.register(0.5), policy=policy)
    gate = follow()
    until(gate.client.ready)
    together, load = [], project.platform.runtime("onnx").load

    def counted(*given):
        together.append(len(gate.keeper.loaded))
        return load(*given)

    project.platform.runtime("onnx").load = counted
    project.deploy(project.register(1.5), policy=policy)
    until(lambda: meanwhile(gate) == "wine@2")
    project.deploy(project.register(2.5, claimed=1.0), policy=policy)
    until(lambda: "does not answer as the trained model did" in gate.plane.status("wine").refused)
    until(lambda: meanwhile(gate) == "wine@2")
    assert set(together) == {1}  # what was being loaded, and nothing beside it
    assert gate.plane.status("wine").versions["wine@3"].state == "failed"
    assert gate.keeper.loaded == ["wine@2"]


def test_unloading_and_loading_on_demand(project, follow):
    project.deploy(project.register(0.5))
    gate = follow()
    until(gate.client.ready)
    gate.keeper.unload("wine").result(10)
    assert gate.keeper.loaded == []
    assert gate.plane.status("wine").state == "unloaded"
    assert gate.client.raw("wine", b"{}").status == 503
    (status,) = gate.client.status("wine")
    assert (status["version"], status["state"], status["status"]["error_code"]) == ("1", "END", "OK")
    (row,) = json.loads(gate.client.request("POST", "/v2/repository/index").body)
    due = {"name": "wine", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded through the control port"}
    assert row == due
    project.deploy(project.register(1.5))  # an unloaded endpoint stays so
    gate.keeper.load("wine").result(10)
    assert serves(gate) == "wine@2"
    project.deploy(project.register(2.5, claimed=1.0))
    until(lambda: gate.plane.status("wine").refused)
    with pytest.raises(Unavailable, match=r"does not answer as the trained model did.*goes on"):
        gate.keeper.load("wine").result(10)
    assert serves(gate) == "wine@2"
    with pytest.raises(NotFound, match="one of wine"):
        gate.keeper.load("beer")


def test_the_first_endpoint_is_the_same_at_every_start_whatever_loads_first(project, follow, tmp_path, monkeypatch):
    for name in ("wine", "plum"):
        project.deploy(project.register(0.5, name=name), endpoint=name)
    for name in ("able", "wood"):
        shutil.copytree(project.model_file(project.register(0.5, name=name)).parent, tmp_path / "models" / name / "1")
    runtime, moved = project.platform.runtime, lambda *_: None
    folder = FolderSource(tmp_path / "models", runtime=runtime, scratch=Scratch(tmp_path / "scratch"), moved=moved)
    poll, folder_serves = LedgerSource.poll, threading.Event()

    def late(source, again=""):
        return poll(source, again) if folder_serves.is_set() else ()

    monkeypatch.setattr(LedgerSource, "poll", late)
    gate = follow(names=(), behind=[folder])
    until(lambda: gate.plane.names == ("able", "wood"))
    folder_serves.set()
    until(lambda: gate.plane.names == ("plum", "wine", "able", "wood"))
    until(gate.client.ready)
    gate.keeper.unload("plum").result(10)
    gate.keeper.load("plum").result(10)
    assert gate.plane.names == ("plum", "wine", "able", "wood")


def test_a_model_that_loads_slowly_holds_up_no_other_endpoint(project, follow):
    project.deploy(project.register(0.5))
    gate = follow(names=())
    until(gate.client.ready)
    release, load = threading.Event(), project.platform.runtime("onnx").load

    def slow(folder, signature):
        if threading.current_thread().name == "loader 0" and not release.is_set():
            release.wait(10)
        return load(folder, signature)

    project.platform.runtime("onnx").load = slow
    for number in range(3):
        project.deploy(project.register(1.5 + number, name=f"other{number}"), endpoint=f"other{number}")
    until(lambda: sum(gate.plane.status(n).state == "serving" for n in gate.plane.names) >= 3)
    release.set()
    until(lambda: len(gate.plane.names) == 4 and gate.client.ready())


def test_a_source_that_waits_for_its_disk_holds_up_no_other(project, follow, tmp_path, monkeypatch):
    project.deploy(project.register(0.5))
    release, waits = threading.Event(), threading.Event()
    folder = FolderSource(
        tmp_path, runtime=project.platform.runtime, scratch=Scratch(tmp_path / "scratch"), moved=lambda *_: None
    )

    def poll(_again=""):
        waits.set()
        release.wait(30)
        return ()

    monkeypatch.setattr(folder, "poll", poll)
    gate = follow(beside=[folder])
    assert waits.wait(10)
    until(lambda: model_ready(gate))
    project.deploy(project.register(1.5))
    until(lambda: serves(gate) == "wine@2")
    gate.keeper.unload("wine").result(10)
    gate.keeper.load("wine").result(10)
    assert not gate.client.ready()  # nobody knows yet what the folder has
    release.set()
