"""``hr.endpoint``: what the commands do, from a script; on the project itself, not on the scratch copy of a dry run."""

from dataclasses import replace

import pytest
from wine_project import ROW, WineProject

import headrace as hr
from headrace.errors import GateFailed, HandleError, NameRefused, NotFound, Unavailable, UsageError
from headrace.models.aliases import Move, aliases, move
from headrace.monitoring.labels import Label, add
from headrace.placement.gateway import GATEWAY, gateway_spec
from headrace.sdk import ambient
from headrace.sdk.running import Request, run
from headrace.serving.deployment import current

PIPELINE = """
import headrace as hr

@hr.step(effect=True)
def back(name: str) -> int:
    return hr.endpoint(name).rollback(why="at night").seq

@hr.pipeline
def good(name: str = "wine"):
    return back(name)

@hr.pipeline
def bad(name: str = "wine"):
    hr.endpoint(name).rollback()
    return back(name)
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    opened = WineProject(tmp_path)
    for bias in (0.5, 0.7):
        opened.register(bias)
    move(opened.platform.ledger(), "wine", Move("champion", 1))
    opened.deploy("wine@champion", shadows=("wine@2",))
    (tmp_path / "ends.py").write_text(PIPELINE)
    monkeypatch.syspath_prepend(str(tmp_path))
    with ambient.use(opened.platform):
        yield opened
    opened.platform.services().stop(GATEWAY)
    opened.close()


def test_an_endpoint_is_split_promoted_and_rolled_back(project):
    ledger, wine = project.platform.ledger(), hr.endpoint("wine")
    made = wine.split({"wine@2": "5%"}, key="x-customer", why="a try")
    assert made == current(ledger, "wine")
    assert (dict(made.endpoint.split.shares), made.endpoint.split.key, made.why) == (
        {"wine@2": 0.05},
        "x-customer",
        "a try",
    )
    assert not wine.split({}).endpoint.split
    assert wine.promote("wine@2").models["wine@champion"] == "wine@2"
    assert aliases(ledger, "wine")["champion"] == 2
    assert wine.rollback(why="worse").models["wine@champion"] == "wine@1"
    assert aliases(ledger, "wine")["champion"] == 1
    assert [moment.why for moment in wine.history()] == ["", "a try", "", "", "worse"]
    assert repr(wine) == "hr.endpoint('wine')"


def test_a_canary_from_a_script_is_the_commands(project):
    made = hr.endpoint("wine").canary("wine@2", ["5%", 1.0], every="90s", abort_if=["error_rate > 1%"], least=5)
    assert made == current(project.platform.ledger(), "wine")
    canary = made.canary
    assert (canary.steps, canary.every_s, canary.abort_if, canary.least) == ((0.05, 1.0), 90.0, ("error_rate > 1%",), 5)


def test_what_cannot_be_done_is_refused_as_on_the_command_line(project):
    wine = hr.endpoint("wine")
    with pytest.raises(UsageError, match="at most 1"):
        wine.split({"wine@2": "half"})
    with pytest.raises(UsageError, match="no span of time"):
        wine.canary("wine@2", ["5%"], every="soon")
    with pytest.raises(NotFound, match="no endpoint named 'none'"):
        hr.endpoint("none").rollback()
    with pytest.raises(UsageError, match="alpha"):
        wine.ab(alpha=2.0)
    with pytest.raises(Unavailable, match="the gateway does not run"):
        wine.scoreboard()
    with pytest.raises(NameRefused):
        hr.explain("abc")


def test_what_the_project_requires_is_required_of_a_script_too(project):
    settings = replace(project.platform.settings, promotion={"requires": ["replay"]})
    strict = replace(project.platform, settings=settings)
    with ambient.use(strict), pytest.raises(GateFailed, match="scored no logged requests"):
        hr.endpoint("wine").promote("wine@2")
    assert aliases(project.platform.ledger(), "wine")["champion"] == 1


def test_an_endpoint_is_judged_replayed_watched_and_explained(project):
    wine = hr.endpoint("wine")
    wine.split({"wine@2": 0.5})
    project.platform.services().start(gateway_spec(project.root, ["wine"]))
    with wine.client() as client:
        client.wait_ready()
        answers = [client.predict("wine", rows=[ROW]) for _ in range(40)]
    board = wine.scoreboard()
    assert board.traffic.requests == 40
    assert sum(version.answered for version in board.versions) == 40
    told = hr.explain(answers[0].id)
    assert (told["winner"], told["deployment"]["seq"]) == (answers[0].winner, board.deployment)
    labels = [Label(answer.id, project.answer(0.5), "2026-01-01T00:00:00Z") for answer in answers]
    add(project.platform.stream(), "wine", labels)
    found = wine.ab(outcome="error")
    assert {side.model: side.requests for side in found.sides} == {
        name: [a.winner for a in answers].count(name) for name in ("wine@1", "wine@2")
    }
    again = wine.replay("wine@2", since="1h", slices=["ph"])
    assert (again.requests, again.own) == tuple(
        [a.winner for a in answers].count(name) for name in ("wine@1", "wine@2")
    )
    assert list(again.slices) == ["ph"]


def test_a_step_acts_and_a_plan_does_not(project):
    before = current(project.platform.ledger(), "wine")
    hr.endpoint("wine").promote("wine@2")
    with pytest.raises(HandleError, match=r"cannot rollback .* is planned .*effect=True"):
        run(Request("ends:bad"))
    assert run(Request("ends:good")).exit_code == 0
    standing = current(project.platform.ledger(), "wine")
    assert (standing.restores, standing.why) == (before.seq, "at night")
