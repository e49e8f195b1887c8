import pytest

from headrace.engines.mlflow.tracking import MlflowTracking
from headrace.engines.sqlite.ledger import SqliteLedger
from headrace.storage.ledger import Fact
from headrace.training.mirror import flush, pending


@pytest.fixture(scope="module")
def tracking(tmp_path_factory):
    return MlflowTracking(tmp_path_factory.mktemp("mlflow"))


@pytest.fixture
def ledger(tmp_path):
    opened = SqliteLedger(tmp_path / "ledger.db")
    yield opened
    opened.close()


def trial(number, experiment="wine", study="study"):
    body = {"number": number, "params": {"rate": 0.1 * number}, "scores": {"auc": 0.7 + number / 100}, "value": 0.7}
    return Fact("trial.finished", study, {**body, "key": "k" * 64, "experiment": experiment, "run": "run-1"})


VERSION = {
    "name": "wine",
    "version": 1,
    "digest": "d" * 64,
    "format": "onnx",
    "licence": "CC0-1.0",
    "commit": "c0ffee",
    "run": "run-1",
    "datasets": {"wine@1": "abc"},
    "metrics": {"auc": 0.8},
}


@pytest.mark.filterwarnings("ignore")  # MLflow's own imports warn
def test_mlflows_own_client_reads_all(ledger, tracking):
    from mlflow import MlflowClient

    ledger.append([trial(0), trial(1), Fact("model.version", "wine", VERSION), Fact("run.started", "run-1")])
    assert flush(ledger, tracking) == 3
    client = MlflowClient(tracking_uri=tracking.address())
    experiment = client.get_experiment_by_name("wine")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"trial 0", "trial 1", "wine@1"}
    assert runs["trial 1"].data.params == {"rate": "0.1"}
    assert runs["trial 1"].data.metrics == {"auc": 0.71}
    assert runs["trial 1"].data.tags["headrace.key"] == "study/1"
    assert runs["wine@1"].data.params == {"format": "onnx", "licence": "CC0-1.0", "dataset wine_1": "abc"}
    assert runs["wine@1"].data.tags["headrace.commit"] == "c0ffee"
    assert {run.info.status for run in runs.values()} == {"FINISHED"}


def test_only_what_is_new_is_written(ledger, tracking):
    ledger.append([trial(0, "cider", "a")])
    assert len(pending(ledger, tracking.address())) == flush(ledger, tracking) == 1
    assert flush(ledger, tracking) == 0
    ledger.append([trial(1, "cider", "a")])
    assert [fact.body["number"] for fact in pending(ledger, tracking.address())] == [1]


@pytest.mark.filterwarnings("ignore")  # MLflow's own imports warn
def test_a_flush_that_died_before_remembering_writes_nothing_twice(ledger, tracking):
    from mlflow import MlflowClient

    ledger.append([trial(0, "beer", "b")])
    flush(ledger, tracking)
    second = SqliteLedger(ledger._path.with_name("again.db"))
    second.append([trial(0, "beer", "b"), trial(1, "beer", "b")])
    flush(second, tracking)
    second.close()
    client = MlflowClient(tracking_uri=tracking.address())
    assert len(client.search_runs([client.get_experiment_by_name("beer").experiment_id])) == 2


def test_nothing_pending_imports_nothing(ledger, tmp_path):
    idle = MlflowTracking(tmp_path / "idle")
    assert flush(ledger, idle) == 0
    assert not (tmp_path / "idle").exists()
