import json
from fractions import Fraction

import numpy as np
import polars as pl
import pytest

import headrace as hr
from headrace.delivery.deploy import current
from headrace.errors import HandleError, NotFound, RegistrationRefused, UsageError
from headrace.models import registry
from headrace.models.aliases import aliases
from headrace.models.artifact import Artifact
from headrace.models.registry import find, versions
from headrace.sdk.children import value
from headrace.sdk.running import Request, run
from headrace.serving.deployment import history
from headrace.serving.endpoint import Batching


@pytest.fixture(scope="module")
def report(project):
    return run(Request("searched_wine:first"))


@pytest.fixture(scope="module")
def steps(report):
    return {step.name: step for step in report.steps}


@pytest.fixture(scope="module")
def searched_wine(project):
    import searched_wine

    return searched_wine


@pytest.fixture(scope="module")
def trained(searched_wine, bottles):
    return searched_wine.train(bottles)


@pytest.fixture(scope="module")
def artifact(trained, bottles):
    return hr.optimize(trained, on=bottles, output="first")


def test_the_pipeline_ends_in_a_registered_champion(project, report):
    assert (report.state, report.exit_code) == ("succeeded", 0), report
    version = value(report.result)
    assert str(version) == "first@1"
    assert find(project.ledger(), "first@champion") == version
    assert version.metrics["auc"] > 0.9
    assert version.report["parity"]["max_difference"] < 1e-6


def test_the_steps_log_says_how_near_the_export_is(project, report):
    (log,) = project.home.glob(f"runs/{report.run}/optimize.log")
    parity = find(project.ledger(), "first").report["parity"]
    said = (
        f"parity of Pipeline as onnx: {parity['rows']} rows, answers differ by {parity['max_difference']:.2g} at most"
    )
    assert f"{said} (0.0001 is allowed), 100.00% of labels agree\n" in log.read_text()


def test_lineage_licence_and_signature_follow_from_the_run(project, report):
    version = find(project.ledger(), "first")
    assert set(version.datasets) == {"wine@1"}
    assert {"split", "search", "optimize", "register-2"} <= set(version.steps)
    assert version.run == report.run
    assert version.licence == "CC-BY-4.0"
    columns = [(c.name, c.dtype, c.nullable) for c in version.signature.columns]
    assert columns == [("proline", "float64", False), ("hue", "float64", True), ("cellar", "string", False)]


def test_the_training_profile_is_kept_for_monitoring(project, report):
    profile = registry.profile_of(project.files(), find(project.ledger(), "first"))
    assert set(profile["columns"]) == {"proline", "hue", "cellar"}
    assert profile["rows"] == 124  # all but the last 30 % of 178


def test_the_endpoint_is_deployed_with_its_gates(project, report):
    endpoint, fact = current(project.ledger(), "first")
    assert fact.body["models"] == {"first@champion": "first@1", "first-constant@1": "first-constant@1"}
    assert (endpoint.deadline_s, endpoint.event_time, endpoint.default) == (0.05, "made", {"first": 0.33})
    assert endpoint.batching == Batching(max_batch_rows=64, max_wait_s=0.002)
    gates = {"beats_baseline", "auc_above", "no_bad_slice", "parity", "no_worse", "latency"}
    assert set(fact.body["gates"]) == gates
    moved = project.ledger().query("alias.moved", "first")[0]
    assert set(moved.body["gates"]) == gates
    assert moved.body["why"] == "it is the first"


def test_every_trial_is_in_the_ledger(project, report, steps):
    trials = project.ledger().query("trial.finished", steps["search"].key)
    assert [fact.body["number"] for fact in trials] == list(range(5))
    assert {fact.body["experiment"] for fact in trials} == {"first"}
    known = {fact.subject for fact in project.ledger().query("step.finished")}
    assert all(fact.body["key"] in known for fact in trials)


def test_the_best_settings_are_trained_again_on_all_rows(project, report, steps):
    trials = project.ledger().query("trial.finished", steps["search"].key)
    best = max(trials, key=lambda fact: fact.body["value"])
    trained = {step.key: step for step in report.steps if step.name.startswith("search/train-")}
    (refit,) = set(trained) - {fact.body["key"] for fact in trials}
    assert trained[refit].reference == steps["search"].reference
    model, trial = value(steps["search"].reference), value(trained[best.body["key"]].reference)
    assert model[-1].learning_rate == trial[-1].learning_rate == best.body["params"]["learning_rate"]


def test_without_refit_the_best_trial_is_returned(searched_wine, bottles):
    space = {"learning_rate": hr.choice(0.05, 0.4)}
    given = {"score": searched_wine.score, "space": space, "trials": 2, "minimize": "log_loss"}
    plain = hr.search(searched_wine.train, bottles, refit=False, **given)
    again = hr.search(searched_wine.train, bottles, **given)
    assert (
        hr.predict(plain, bottles).tolist() == hr.predict(searched_wine.train(bottles.head(142), 0.4), bottles).tolist()
    )
    assert hr.predict(again, bottles).tolist() == hr.predict(searched_wine.train(bottles, 0.4), bottles).tolist()


def test_a_second_run_trains_nothing_and_registers_nothing(project, report):
    again = run(Request("searched_wine:first"))
    ran = {step.name for step in again.steps if step.state == "done"}
    assert again.exit_code == 0
    assert ran <= {"promote", "deploy", "latency", "no_worse"}
    assert len(versions(project.ledger())) == 2
    assert len(history(project.ledger(), "first")) == 1


def test_a_longer_search_repeats_no_trial(project, report):
    longer = run(Request("searched_wine:first", {"trials": 7}, only=["search"]))
    known = {step.key for step in report.steps if step.name.startswith("search/train-")}
    trained = [step for step in longer.steps if step.name.startswith("search/train-")]
    assert all((step.state == "cached") == (step.key in known) for step in trained)
    assert len({step.key for step in trained} - known) in {2, 3}  # two more trials, and their best one trained again


def test_a_failing_gate_registers_nothing(project, report):
    before = len(versions(project.ledger())), len(history(project.ledger()))
    refused = run(Request("searched_wine:first", {"floor": 0.9999999, "trials": 2}))
    by_name = {step.name: step for step in refused.steps}
    assert refused.exit_code == 3
    assert by_name["auc_above"].state == "refused"
    assert "is not above 1" in by_name["auc_above"].error
    assert {by_name[name].state for name in ("register", "register-2", "promote", "deploy")} == {"skipped"}
    assert before == (len(versions(project.ledger())), len(history(project.ledger())))


def test_a_dataset_without_a_licence_is_refused(project, report):
    from headrace.datasets.put import put

    changed = pl.read_parquet(project.settings.root / "wine.parquet").head(170)
    changed.write_parquet(project.settings.root / "other.parquet")
    put(project.stores(), "wine", project.settings.root / "other.parquet", licence="")
    refused = run(Request("searched_wine:first"))
    by_name = {step.name: step for step in refused.steps}
    assert refused.exit_code == 3
    assert "dataset wine@2 has no licence" in by_name["register"].error
    assert "headrace data put" in by_name["register"].error


class TestEagerly:
    """The same verbs, called as plain Python."""

    def test_a_dataset_is_scanned(self, project):
        rows = hr.dataset("wine@1").select("proline").collect()
        assert len(rows) == 178
        with pytest.raises(NotFound):
            hr.dataset("beer")

    def test_split_gives_tables(self, project):
        fit, test = hr.split(hr.dataset("wine@1"), by="made", at=100)
        assert fit.collect()["made"].max() == 99
        assert test.collect()["made"].to_list() == list(range(100, 178))

    def test_predict_takes_either_form_and_any_order_of_columns(self, trained, artifact, bottles):
        due = trained.predict_proba(bottles)[:, 1]
        shuffled = bottles.select(sorted(bottles.columns))
        for model in (trained, artifact):
            np.testing.assert_allclose(hr.predict(model, bottles), due, atol=1e-6)
            np.testing.assert_allclose(hr.predict(model, shuffled), due, atol=1e-6)
            np.testing.assert_allclose(hr.predict(model, bottles.to_pandas()), due, atol=1e-6)

    def test_search_returns_a_model(self, searched_wine, bottles):
        space = {"learning_rate": hr.choice(0.05, 0.4)}
        options = {"score": searched_wine.score, "space": space, "minimize": "log_loss"}
        model = hr.search(searched_wine.train, bottles, trials=3, **options)
        held = hr.search(searched_wine.train, bottles, trials=3, valid=bottles.tail(30), **options)
        assert model[-1].learning_rate == held[-1].learning_rate == 0.4

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"maximize": "auc", "minimize": "auc"}, "one goal"),
            ({}, "one goal"),
            (
                {"maximize": "auc", "space": {"depth": hr.integer(1, 3)}},
                "no parameter 'depth' - fix: one of learning_rate",
            ),
            ({"maximize": "auc", "score": len}, "score= is no step"),
            ({"maximize": "gini"}, "no 'gini' - they have auc, log_loss"),
        ],
    )
    def test_a_search_that_cannot_be_is_refused(self, searched_wine, bottles, wrong, says):
        given = {"score": searched_wine.score, "space": {"learning_rate": hr.uniform(0.1, 0.2)}, "trials": 1, **wrong}
        with pytest.raises(UsageError, match=says):
            hr.search(searched_wine.train, bottles, **given)

    def test_register_and_deploy_leave_nothing_behind(self, project, artifact, bottles):
        before = [fact.seq for fact in project.ledger().query("*")]
        version = hr.register(artifact, name="scratch", example=bottles, licence="CC0-1.0", nullable=["proline"])
        assert {c.name for c in version.signature.columns if c.nullable} == {"proline", "hue"}
        assert str(hr.promote(version)) == "scratch@1"
        hr.deploy("scratch", schedule=[(version, 20)], deadline_ms=50, default={"first": 0.3}, shadows=[version])
        assert [fact.seq for fact in project.ledger().query("*")] == before
        assert aliases(project.ledger(), "scratch") == {}

    def test_register_says_what_is_missing(self, artifact, bottles):
        with pytest.raises(RegistrationRefused, match="no licence"):
            hr.register(artifact, name="scratch", example=bottles)
        with pytest.raises(RegistrationRefused, match="lacks hue"):
            hr.register(artifact, name="scratch", example=bottles.drop("hue"), licence="CC0-1.0")

    def test_recorded_examples_travel_with_the_artifact(self, artifact, trained):
        recorded = json.loads(artifact.files["examples.json"])
        due = trained.predict_proba(pl.DataFrame(recorded["columns"]))[:, 1]
        np.testing.assert_allclose(recorded["outputs"]["first"], due, atol=1e-12)

    def test_champion_scores(self, project, report, searched_wine):
        scores = hr.champion_scores("first", searched_wine.Scores)
        assert scores.auc == find(project.ledger(), "first@champion").metrics["auc"]
        assert hr.champion_scores("nobody", searched_wine.Scores) is None
        with pytest.raises(UsageError, match="no dataclass"):
            hr.champion_scores("first", dict)

    def test_an_unknown_framework_is_refused(self, bottles):
        with pytest.raises(UsageError, match="no engine exports a Fraction"):
            hr.predict(Fraction(1, 2), bottles)


def test_a_planned_value_cannot_be_read(project):
    @hr.pipeline
    def broken() -> None:
        _, test = hr.split(hr.dataset("wine@1"), by="made", test=0.2)
        test.head(5)

    with pytest.raises(HandleError, match=r"cannot read .head"):
        broken.plan()


def test_artifacts_are_plain_data():
    assert Artifact("onnx", {}, ("a",), ("b",)) == Artifact("onnx", {}, ("a",), ("b",))
