"""The main job, command by command, on two datasets that have nothing in common."""

import csv
import json
import random
import subprocess
import sys
import time

import projects
import pytest


class Project:
    """The command line in a project's folder."""

    def __init__(self, job):
        self.job = job

    def try_(self, *arguments):
        command = [sys.executable, "-m", "headrace", *arguments]
        return subprocess.run(command, cwd=self.job.folder, capture_output=True, text=True, check=False, timeout=110)

    def __call__(self, *arguments, code=0):
        done = self.try_(*arguments)
        assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout if code == 0 else done.stderr

    def json(self, *arguments):
        return json.loads(self(*arguments, "--json"))


@pytest.fixture(scope="module", params=[projects.flights, projects.wine], ids=["flights", "wine"])
def project(request, tmp_path_factory):
    """A project after its data are in and its pipeline has run, served until the tests are over."""
    project = Project(request.param(tmp_path_factory.mktemp("job") / "project"))
    for name, path in project.job.files.items():
        project("data", "put", str(path), "--name", name, "--null", "NA", "--licence", "CC0-1.0")
    project("run", project.job.pipeline)
    project("serving", "run", "--port", "0", "--detach")
    yield project
    project("serving", "run", "--stop")


def predicted(project, row, **more):
    return project.json("serving", "predict", project.job.pipeline, "--row", json.dumps({**row, **more}))


def test_the_same_content_is_the_same_version(project):
    name = project.job.main
    path = str(project.job.files[name])
    again = project.json("data", "put", path, "--name", name, "--null", "NA", "--licence", "CC0-1.0")
    assert [(row["dataset"], row["version"]) for row in again] == [(name, 1)]
    assert project.json("data", "show", name)["digest"].startswith(again[0]["digest"])


def test_the_check_counts_the_dirt(project):
    found = project.json("data", "check", project.job.main)["findings"]
    nulls = {f["column"]: f["count"] for f in found if f["rule"] == "nulls"}
    assert {name: nulls.get(name) for name in project.job.dirt} == project.job.dirt


def test_nothing_runs_twice(project):
    steps = project.json("run", project.job.pipeline)["steps"]
    # Only the race with the champion is new: the first run had none.
    assert {step["name"] for step in steps if step["state"] != "cached"} <= {"latency"}


def test_an_answer_is_explained_back_to_the_data(project):
    job = project.job
    answer = predicted(project, job.row)
    told = project.json("serving", "explain", answer["id"])
    assert told["input"] == {name: [value] for name, value in job.row.items()}
    assert told["answer"][job.output] == pytest.approx(answer["predictions"])
    assert told["winner"] == answer["winner"] == f"{job.pipeline}@1"
    assert {score["model"] for score in told["scores"]} >= {f"{job.pipeline}@1", f"{job.pipeline}-constant@1"}
    assert told["model"]["datasets"][f"{job.main}@1"] == project.json("data", "show", job.main)["digest"]
    keys = {step["key"] for step in project.json("run", job.pipeline)["steps"]}
    assert set(told["model"]["steps"].values()) & keys
    assert told["deployment"]["deadline_ms"] == 50


def test_the_order_of_columns_never_matters_and_their_names_always_do(project):
    row = project.job.row
    names = list(row)
    random.Random(3).shuffle(names)
    shuffled = predicted(project, {name: row[name] for name in names})
    assert shuffled["predictions"] == predicted(project, row)["predictions"]
    unnamed = json.dumps(list(row.values()))
    said = project("serving", "predict", project.job.pipeline, "--row", unnamed, code=2)
    assert "name" in said


@pytest.mark.parametrize("fault", ["missing", "extra", "text"])
def test_a_wrong_column_is_named(project, fault):
    row = dict(project.job.row)
    first = next(iter(row))
    if fault == "missing":
        del row[first]
    row |= {"extra": {"unheard_of": 1}, "text": {first: "many"}}.get(fault, {})
    said = project("serving", "predict", project.job.pipeline, "--row", json.dumps(row), code=2)
    assert ("unheard_of" if fault == "extra" else first) in said


def newest(job):
    """The features of the job's entity: of its newest row, read from the file itself."""
    look = job.lookup
    with job.files[look.data].open() as file:
        rows = [row for row in csv.DictReader(file) if row[look.by] == str(look.entity)]
    row = max(rows, key=lambda row: row[look.event_time])
    return {name: None if row[name] == "NA" else float(row[name]) for name in look.columns}


def test_features_are_looked_up_at_the_front_door(project):
    """The same answer as of who sends them: the model, its inputs and the data are those of the pipeline."""
    job, look = project.job, project.job.lookup
    chosen = [part for name in look.columns for part in ("--columns", name)]
    by = ["--by", look.by, "--event-time", look.event_time]
    (made,) = project.json("features", "materialize", "lately", "--from", look.data, *by, *chosen)
    assert (made["online"], made["dataset"], made["features"]) == ("yes", f"{look.data}@1", len(look.columns))
    with (job.folder / "headrace.toml").open("a") as settings:
        settings.write(
            f'\n[endpoint.joined]\nschedule = [{{ model = "{job.pipeline}@champion", wait_ms = 3000 }}]\n'
            f'deadline_ms = 4000\ndefault = {{ {job.output} = 0.5 }}\njoin = [{{ view = "lately" }}]\n'
        )
    project("serving", "deploy", "joined")
    sent = {name: cell for name, cell in job.row.items() if name not in look.columns} | {look.by: look.entity}
    answer = asked_when_served(project, sent)
    due = predicted(project, {**job.row, look.by: look.entity} if look.by in job.row else job.row, **newest(job))
    assert answer["winner"] == due["winner"]
    assert answer["predictions"] == due["predictions"]
    told = project.json("serving", "explain", answer["id"])
    assert told["input"] == {name: [cell] for name, cell in {**sent, **newest(job)}.items()}
    (joined,) = told["joined"]
    digest = project.json("data", "show", look.data)["digest"]
    assert (joined["view"], joined["dataset_digest"]) == ("lately", digest)
    said = project("serving", "predict", "joined", "--row", json.dumps({**sent, **newest(job)}), code=2)
    assert "is joined here" in said


def asked_when_served(project, row):
    """Ask the endpoint that was just deployed; the gateway follows within a moment."""
    until = time.monotonic() + 20
    while True:
        command = ["serving", "predict", "joined", "--row", json.dumps(row), "--json"]
        done = project.try_(*command)
        if done.returncode == 0:
            return json.loads(done.stdout)
        assert time.monotonic() < until, done.stderr
        time.sleep(0.1)


def test_models_and_runs_are_listed(project):
    models = {row["model"] for row in project.json("models", "ls")}
    assert f"{project.job.pipeline}@1" in models
    assert project.json("runs", "ls")[0]["pipeline"] == project.job.pipeline


def test_a_gate_that_fails_registers_nothing_and_prints_its_values(project):
    text = (project.job.folder / "pipeline.py").read_text()
    strict = text.replace("new.auc > 0.55", "new.auc > 1.01").replace(
        "auc_above(scores, 0.7)", "auc_above(scores, 1.01)"
    )
    assert strict != text
    before = project.json("models", "ls")
    (project.job.folder / "pipeline.py").write_text(strict)
    try:
        said = project("run", project.job.pipeline, code=3)
    finally:
        (project.job.folder / "pipeline.py").write_text(text)
    assert "1.01" in said
    assert project.json("models", "ls") == before
