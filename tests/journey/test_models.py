"""``headrace models`` and the mirror, over a project with two versions of a model."""

import json
import re
import subprocess
import sys

import polars as pl
import pytest
from click.testing import CliRunner
from sklearn.linear_model import LogisticRegression

from headrace.assembly import open_platform
from headrace.cli import cli
from headrace.engines.onnxruntime.runtime import OnnxRuntime
from headrace.engines.sklearn.converter import SklearnConverter
from headrace.journey.optimize import Optimization, optimized
from headrace.models.registry import Registration, register
from headrace.models.version import Lineage
from headrace.settings import Settings

ROWS = pl.DataFrame({"alcohol": [11.0, 12.0, 13.0, 14.0] * 10, "ash": [2.0, None, 2.5, 3.0] * 10})


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cellar")
    (folder / "headrace.toml").touch()
    platform = open_platform(Settings(root=folder))
    filled = ROWS.with_columns(pl.col("ash").fill_null(0.0))
    for version, strength in ((1, 1.0), (2, 10.0)):
        model = LogisticRegression(C=strength).fit(filled, [0, 0, 1, 1] * 10)
        artifact = optimized(SklearnConverter(), OnnxRuntime(), model, filled, Optimization("good"))
        lineage = Lineage({"wine@1": "abc"}, {"train": f"{version}" * 64}, f"run-{version}", "c0ffee")
        asked = Registration("good", ROWS, "CC0-1.0", metrics={"auc": 0.7 + version / 100}, lineage=lineage)
        register(platform.stores(), artifact, asked)
    platform.close()
    return folder


@pytest.fixture
def headrace(root, monkeypatch):
    monkeypatch.chdir(root)

    def call(*args):
        done = CliRunner().invoke(cli, args, catch_exceptions=True)
        return done.exit_code if done.exception is None else done.exception, done.stdout

    return call


def test_ls_and_show(headrace):
    _, listed = headrace("models", "ls", "--json")
    assert [(row["model"], row["metrics"]) for row in json.loads(listed)] == [
        ("good@1", "auc=0.71"),
        ("good@2", "auc=0.72"),
    ]
    _, shown = headrace("models", "show", "good")
    for part in ("good@2", "CC0-1.0", "c0ffee", "wine@1", "alcohol  float64", "ash      float64  yes"):
        assert part in shown
    assert re.search(
        r"parity rows 40, parity max_difference \S+, parity label_agreement 1, parity tolerance 0.0001", shown
    )


def test_promote_moves_the_alias_and_show_tells_who_and_why(headrace):
    code, said = headrace("models", "promote", "good@1", "--why", "it is older")
    assert (code, said) == (0, "good@champion is good@1\n")
    _, shown = headrace("models", "show", "good@champion", "--json")
    shown = json.loads(shown)
    assert (shown["version"], shown["aliases"]) == (1, ["champion"])
    assert [(move["why"], bool(move["who"])) for move in shown["moves"]] == [("it is older", True)]


def test_compare_shows_metrics_and_what_differs(headrace):
    _, text = headrace("models", "compare", "good@1", "good@2", "--json")
    rows = {row["what"]: (row["good@1"], row["good@2"]) for row in json.loads(text)}
    assert rows["auc"] == (0.71, 0.72)
    assert rows["step train"] == ("1" * 12, "2" * 12)
    assert "licence" not in rows


def test_unknown_models_are_not_found(headrace):
    for args in (("show", "beer"), ("ls", "beer"), ("promote", "good@9")):
        error, _ = headrace("models", *args)
        assert error.exit_code == 5


@pytest.mark.filterwarnings("ignore")  # MLflow's own imports warn
def test_the_mirror_process_writes_what_is_pending_once(root):
    from headrace.sdk.mirror import start

    platform = open_platform(Settings(root=root))
    begun = start(platform)
    assert begun.wait(timeout=60) == 0
    assert start(platform) is None
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=platform.tracking().address())
    runs = client.search_runs([client.get_experiment_by_name("good").experiment_id])
    assert {run.info.run_name: run.data.metrics["auc"] for run in runs} == {"good@1": 0.71, "good@2": 0.72}
    platform.close()


def test_the_mirror_is_off_where_the_settings_say_so(root):
    from headrace.sdk.mirror import run, start

    platform = open_platform(Settings(root=root, tracking="off"))
    assert start(platform) is None
    assert run(platform) == 0
    platform.close()


def test_listing_models_imports_no_engine_but_the_ledgers(root):
    script = (
        "import sys\nfrom headrace.cli import main\ntry:\n    main(['models', 'ls'])\nfinally:\n    print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "good@2" in done.stdout
    assert not loaded & {"numpy", "pyarrow", "narwhals", "duckdb", "sklearn", "mlflow", "onnxruntime"}
