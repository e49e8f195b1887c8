"""A real ``mlflow server`` over the mirror: its REST API and its pages show what the ledger knows."""

import sys
import urllib.request
from html.parser import HTMLParser

import polars as pl
import pytest
from sklearn.datasets import load_wine

from headrace.assembly import open_platform
from headrace.datasets.put import put
from headrace.engines.local.services import LocalServices
from headrace.models.registry import find
from headrace.placement.services import ServiceSpec, free_port
from headrace.sdk import ambient, mirror
from headrace.sdk.running import Request, run
from headrace.settings import Settings

# MLflow's own imports warn, and it may take its time to start.
pytestmark = [pytest.mark.service, pytest.mark.timeout(180), pytest.mark.filterwarnings("ignore")]

PIPELINE = """
import headrace as hr
import polars as pl
from sklearn.linear_model import LogisticRegression

@hr.step
def train(bottles: pl.DataFrame, strength: float = 1.0) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=500).fit(bottles.select("hue", "ash"), bottles["first"].to_numpy())

@hr.step
def score(model: LogisticRegression, bottles: pl.DataFrame) -> dict[str, float]:
    return {"auc": hr.metrics.auc(bottles["first"], hr.predict(model, bottles))}

@hr.pipeline
def first():
    bottles = hr.dataset("wine")
    best = hr.search(train, bottles, score=score, space={"strength": hr.log_uniform(0.1, 10)}, trials=3, maximize="auc")
    served = hr.optimize(best, on=bottles, output="first")
    return hr.register(served, name="first", example=bottles, scores=score(best, bottles))
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    """A project with a study of three trials and a registered model, mirrored."""
    root = tmp_path_factory.mktemp("cellar")
    (root / "cellar.py").write_text(PIPELINE)
    data = load_wine()
    table = pl.DataFrame({"hue": data.data[:, 10], "ash": data.data[:, 2], "first": (data.target == 0).astype(int)})
    table = table.sample(fraction=1, shuffle=True, seed=0)
    table.write_parquet(root / "wine.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(root))
        opened = open_platform(Settings(root=root, workers=1))
        with ambient.use(opened):
            put(opened.stores(), "wine", root / "wine.parquet", licence="CC-BY-4.0")
            report = run(Request("cellar:first"))
            assert report.state == "succeeded", [step for step in report.steps if step.error]
            mirror.run(opened)
            yield opened
        opened.close()


@pytest.fixture(scope="module")
def server(platform, tmp_path_factory):
    """The address of an ``mlflow server`` over the mirror's database."""
    services, port = LocalServices(tmp_path_factory.mktemp("services")), free_port()
    address = f"http://127.0.0.1:{port}"
    options = ["--backend-store-uri", platform.tracking().address(), "--workers", "1"]
    spec = ServiceSpec(
        "mlflow",
        [sys.executable, "-m", "mlflow", "server", *options, "--host", "127.0.0.1", "--port", str(port)],
        {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"},
        ready_url=f"{address}/health",
        ready_within_s=90,
        restart=False,
    )
    try:
        services.start(spec)
        yield address
    finally:
        services.stop("mlflow")


def test_mlflows_rest_client_reads_trials_and_versions(platform, server):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=server)
    runs = {}
    for experiment in client.search_experiments():
        runs |= {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    trials = {f"trial {fact.body['number']}": fact.body for fact in platform.ledger().query("trial.finished")}
    assert set(runs) == {*trials, "first@1"}
    assert len(trials) == 3
    for name, body in trials.items():
        assert runs[name].data.metrics == pytest.approx(body["scores"])
        assert runs[name].data.params == {"strength": str(body["params"]["strength"])}
    version = find(platform.ledger(), "first@1")
    assert runs["first@1"].data.metrics == pytest.approx(version.metrics)
    assert runs["first@1"].data.tags["headrace.digest"] == version.digest
    assert {run.info.status for run in runs.values()} == {"FINISHED"}


def test_the_page_and_its_scripts_are_served(server):
    page = _get(f"{server}/").decode()
    sources = _Scripts()
    sources.feed(page)
    assert "<title>MLflow</title>" in page
    assert sources.found
    assert all(len(_get(f"{server}/{source}")) > 1000 for source in sources.found)


class _Scripts(HTMLParser):
    """The addresses of a page's scripts."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        source = dict(attrs).get("src")
        if tag == "script" and source:
            self.found.append(source.lstrip("./"))


def _get(address):
    with urllib.request.urlopen(address, timeout=20) as answer:
        return answer.read()
