"""Traffic as operators change it: by the command line, on a gateway that runs, back again, and explained."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest
from wine_project import ROW, WineProject

from headrace.client import Client
from headrace.models.aliases import Move, aliases, move
from headrace.placement.gateway import GATEWAY, gateway_spec
from headrace.serving.deployment import current, history

BODY = json.dumps({"instances": [ROW]}).encode()


@pytest.fixture
def project(tmp_path):
    opened = WineProject(tmp_path)
    yield opened
    opened.platform.services().stop(GATEWAY)
    opened.close()


def headrace(project, *arguments, code=0):
    command = [sys.executable, "-m", "headrace", "serving", *arguments]
    ended = subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == code, ended.stderr
    return ended


def changed(project, *arguments):
    return json.loads(headrace(project, *arguments, "--json").stdout)


def answered_by(client, winner, **headers):
    """Ask until ``winner`` answers; a gateway follows within 100 ms and what the machine adds."""
    until = time.monotonic() + 10
    while (reply := client.raw("wine", BODY, headers=headers)).header("x-headrace-winner") != winner:
        assert reply.status == 200
        assert time.monotonic() < until
    return reply


def test_split_promote_and_rollback_on_a_gateway_that_runs(project):
    for bias in (0.5, 0.7):
        project.register(bias)
    ledger = project.platform.ledger()
    move(ledger, "wine", Move("champion", 1))
    first = project.deploy("wine@champion", shadows=("wine@2",))
    state = project.platform.services().start(gateway_spec(project.root, ["wine"]))
    client = Client(state.address)
    client.wait_ready()
    assert client.raw("wine", BODY).header("x-headrace-winner") == "wine@1"

    told = changed(project, "split", "wine", "wine@2=100%", "--key", "x-customer", "--why", "a try")
    assert (told["schedule"], told["split"], told["key"]) == (["wine@1", "wine@2"], {"wine@2": 1.0}, "x-customer")
    reply = answered_by(client, "wine@2", **{"x-customer": "ada"})
    assert client.raw("wine", BODY).header("x-headrace-winner") == "wine@1"  # no key: no part of the split
    explained = json.loads(headrace(project, "explain", reply.header("x-headrace-id"), "--json").stdout)
    assert "wine@2 was drawn for key ada" in explained["reason"]
    assert explained["deployment"]["why"] == "a try"

    assert changed(project, "promote", "wine", "wine@2")["schedule"] == ["wine@2"]
    answered_by(client, "wine@2")
    assert aliases(ledger, "wine")["champion"] == 2

    assert changed(project, "rollback", "wine", "--to", str(first.seq))["restores"] == first.seq
    answered_by(client, "wine@1")
    assert aliases(ledger, "wine")["champion"] == 1
    client.close()


def test_a_canary_goes_through_while_it_is_asked(project):
    for bias in (0.5, 0.7):
        project.register(bias)
    ledger = project.platform.ledger()
    move(ledger, "wine", Move("champion", 1))
    project.deploy("wine@champion")
    state = project.platform.services().start(gateway_spec(project.root, ["wine"]))
    client = Client(state.address)
    client.wait_ready()
    plan = ("--canary", "50% 100%", "--every", "1s", "--abort-if", "error_rate > 1%", "--least", "5")
    told = changed(project, "deploy", "wine@2", *plan, "--why", "better on paper")
    assert (told["split"], told["canary"]["steps"]) == ({"wine@2": 0.5}, [0.5, 1.0])
    (seen,) = changed(project, "ls", "wine")
    assert seen["split"] == {"models": {"wine@2": seen["canary"]["shares"][seen["canary"]["step"] - 1]}, "key": ""}
    assert [rule["state"] for rule in seen["canary"]["rules"]] == ["not known yet"]
    said = headrace(project, "ls", "wine").stdout
    assert "wine, canary of wine@2: 50 %, step 1 of 2" in said
    until = time.monotonic() + 20
    while current(ledger, "wine").canary is not None:
        assert client.raw("wine", BODY).status == 200
        assert time.monotonic() < until
    answered_by(client, "wine@2")
    assert aliases(ledger, "wine")["champion"] == 2
    timeline = [(d.who, d.why, d.canary.share if d.canary else None) for d in history(ledger, "wine")][1:]
    assert timeline[1:] == [
        ("gateway", "canary of wine@2: 100 %, step 2 of 2", 1.0),
        ("gateway", "canary of wine@2 went through", None),
    ]
    assert timeline[0][1:] == ("better on paper", 0.5)
    told = changed(project, "ls", "wine", "--history")
    assert [(row["prefers"], row["split"], row["by"]) for row in told][1:] == [
        ("wine@1", "wine@2 50%", timeline[0][0]),
        ("wine@1", "wine@2 100%", "gateway"),
        ("wine@2", "", "gateway"),
    ]
    client.close()


def test_an_experiment_is_judged_by_the_labels_that_came(project):
    for bias in (0.5, 9.5):
        project.register(bias)
    project.deploy("wine@1", shadows=("wine@2",))
    changed(project, "split", "wine", "wine@2=50%", "--key", "x-customer")
    state = project.platform.services().start(gateway_spec(project.root, ["wine"]))
    client = Client(state.address)
    client.wait_ready()
    replies = [client.raw("wine", BODY, headers={"x-customer": str(n)}) for n in range(900)]
    client.close()
    assert "no labels yet" in headrace(project, "ab", "wine", code=5).stderr
    # The first model is right up to the noise, the second is nine off.
    lines = [f"{r.header('x-headrace-id')},{project.answer(0.5) + n % 3}" for n, r in enumerate(replies)]
    (project.root / "labels.csv").write_text("\n".join(["id,label", *lines]))
    command = [sys.executable, "-m", "headrace", "monitor", "label", "wine", "labels.csv", "-q"]
    subprocess.run(command, cwd=project.root, check=True, timeout=60)
    told = changed(project, "ab", "wine", "--lift", "1")
    control, treatment = told["sides"]
    won = [r.header("x-headrace-winner") for r in replies]
    assert [control["requests"], treatment["requests"]] == [won.count("wine@1"), won.count("wine@2")]
    assert (told["key"], control["units"], control["verdict"]) == ("x-customer", control["requests"], None)
    assert treatment["verdict"]["says"] == "worse"
    assert treatment["verdict"]["low"] < 81 - 2 * 9 < treatment["verdict"]["high"]
    assert control["needed"] > 0
    said = headrace(project, "ab", "wine", "-q").stdout
    assert "wine@2 against wine@1" in said
    assert "headrace serving split wine --end" in said
    assert len(project.platform.ledger().query("experiment.judged", "wine")) == 2


def test_what_cannot_be_done_is_said_with_the_fix(project):
    project.deploy(project.register(0.5))
    project.register(0.7)
    for arguments, code, said in (
        (("split", "wine", "wine@2=5%"), 2, "has not loaded wine@2"),
        (("split", "wine", "wine@1"), 2, "wine@1=5%"),
        (("split", "wine", "wine@1=half"), 2, "at most 1"),
        (("split", "wine"), 2, "--end"),
        (("deploy", "wine@2"), 2, "--canary"),
        (("deploy", "wine@2", "--canary", "5%", "--every", "soon"), 2, "no span of time"),
        (("deploy", "wine@2", "--canary", "5%", "--abort-if", "speed > 1"), 2, "nothing measures"),
        (("deploy", "wine@2", "--canary", "5%", "--force"), 2, "--force does not go with this"),
        (("deploy", "wine", "--every", "10m"), 2, "--every does not go with this"),
        (("deploy", "cork@1", "--canary", "5%"), 5, "--endpoint NAME"),
        (("promote", "wine", "wine@2"), 2, 'shadows = ["wine@2"]'),
        (("rollback", "wine"), 5, "no earlier deployment"),
        (("rollback", "none"), 5, "no endpoint named"),
    ):
        ended = headrace(project, *arguments, code=code)
        assert said in ended.stderr
        assert len(ended.stderr.strip().splitlines()) == 1


def test_what_a_change_ends_is_said_and_what_was_live_names_the_gates(project):
    for bias in (0.5, 0.7):
        project.register(bias)
    first = project.deploy("wine@1", shadows=("wine@2",), gates=["good_enough", "slices"])
    canary = ("deploy", "wine@2", "--canary", "5% 100%")
    assert "ended" not in headrace(project, "split", "wine", "wine@2=50%").stderr
    assert "the split of before ended" in headrace(project, *canary).stderr
    assert "the canary of wine@2 ended" in headrace(project, "split", "wine", "wine@2=20%").stderr
    assert headrace(project, "split", "wine", "wine@2=20%").stderr == ""
    headrace(project, *canary)
    assert "the canary of wine@2 ended" in headrace(project, "promote", "wine", "wine@2").stderr
    assert "back to" not in headrace(project, "rollback", "wine", "--to", str(first.seq), "--why", "worse").stdout
    headrace(project, "rollback", "wine", "--to", str(first.seq + 1))
    told = changed(project, "ls", "wine", "--history")
    assert told[0]["gates"] == ["good_enough", "slices"]
    assert [row["why"] for row in told[-2:]] == ["worse", f"back to deployment {first.seq + 1}"]
    assert "good_enough, slices" in headrace(project, "ls", "wine", "--history").stdout


def test_the_body_of_a_logged_request_comes_back_byte_for_byte(project):
    project.deploy(project.register(0.5))
    state = project.platform.services().start(gateway_spec(project.root, ["wine"]))
    client = Client(state.address)
    client.wait_ready()
    body = json.dumps({"instances": [ROW]}, indent=3).encode()
    identifier = client.raw("wine", body).header("x-headrace-id")
    client.close()
    assert headrace(project, "explain", identifier, "--body").stdout.encode() == body
    told = json.loads(headrace(project, "explain", identifier, "--json").stdout)
    assert told["body"]["bytes"] == len(body)


def test_masked_columns_are_hashed_with_a_key_of_the_project(project):
    project.deploy(project.register(0.5), mask=("alcohol",))
    state = project.platform.services().start(gateway_spec(project.root, ["wine"]))
    client = Client(state.address)
    client.wait_ready()
    reply = client.raw("wine", BODY)
    client.close()
    identifier = reply.header("x-headrace-id")
    told = json.loads(headrace(project, "explain", identifier, "--json").stdout)
    assert (told["masked"], told["body"]) == (["alcohol"], None)
    assert len(told["input"]["alcohol"][0]) == 16
    read = headrace(project, "explain", identifier).stdout
    assert "masked     alcohol: hashes are shown" in read
    assert f"deployment {told['deployment']['seq']}, wine@1 20 ms, by " in read
    assert "masks alcohol" in headrace(project, "explain", identifier, "--body", code=5).stderr
    key = project.root / ".headrace" / "mask.key"
    assert key.stat().st_mode & 0o077 == 0
    (known,) = project.platform.ledger().query("mask.key")  # for gateways of other hosts to compare
    assert known.body["sha256"] == hashlib.sha256(key.read_bytes().strip()).hexdigest()
    assert "hashes of it only" in headrace(project, "replay", "wine", "--model", "wine@1", code=2).stderr


def test_what_was_live_when(project):
    first = project.deploy(project.register(0.5))
    second = project.deploy(project.register(0.7))
    ledger = project.platform.ledger()
    assert [d.seq for d in history(ledger, "wine")] == [first.seq, second.seq]
    then = datetime.fromtimestamp((first.at + second.at) / 2, UTC).isoformat()
    (row,) = changed(project, "ls", "wine", "--as-of", then)
    assert (row["deployment"], row["schedule"]) == (first.seq, "wine@1 20 ms")
    (row,) = changed(project, "ls", "--as-of", "0s")
    assert row["deployment"] == second.seq
    assert "nothing was deployed then" in headrace(project, "ls", "--as-of", "7d").stderr


def test_the_scoreboard_until_it_is_interrupted(project):
    project.deploy(project.register(0.5))
    state = project.platform.services().start(gateway_spec(project.root, ["wine"]))
    client = Client(state.address)
    client.wait_ready()
    client.raw("wine", BODY)
    client.close()
    command = [sys.executable, "-m", "headrace", "serving", "ls", "wine", "--watch"]
    with subprocess.Popen(command, cwd=project.root, stdout=subprocess.PIPE, text=True) as watching:
        seen = ""
        while "wine@1" not in seen:
            seen += watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        watching.communicate(timeout=20)
    assert watching.returncode == 0
    assert "wine: 1 requests" in seen
    assert "--watch" in headrace(project, "ls", "--watch", code=2).stderr
