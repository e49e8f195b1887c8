"""The project that the tests of the verbs run; copied into a folder of its own."""

from dataclasses import dataclass

import polars as pl
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder

import headrace as hr

INPUTS = ["cellar", "proline", "hue"]


@dataclass(frozen=True)
class Scores:
    auc: float
    log_loss: float


@hr.step
def train(rows: pl.DataFrame, learning_rate: float = 0.1) -> Pipeline:
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = ColumnTransformer([("numbers", "passthrough", ["proline", "hue"]), ("text", codes, ["cellar"])])
    trees = HistGradientBoostingClassifier(learning_rate=learning_rate, max_iter=10, min_samples_leaf=5, random_state=0)
    return make_pipeline(columns, trees).fit(rows.select(INPUTS), rows["first"].to_numpy())


@hr.step
def train_constant(rows: pl.DataFrame) -> DummyClassifier:
    return DummyClassifier().fit(rows.select(INPUTS), rows["first"].to_numpy())


@hr.step
def score(model: Pipeline | hr.Artifact, rows: pl.DataFrame) -> Scores:
    truth, chances = rows["first"].to_numpy(), hr.predict(model, rows)
    return Scores(hr.metrics.auc(truth, chances), hr.metrics.log_loss(truth, chances))


@hr.gate
def no_worse(new: Scores, champion: Scores | None) -> None:
    assert champion is None or new.auc >= champion.auc - 0.5


@hr.pipeline
def first(trials: int = 5, floor: float = 0.6) -> hr.ModelVersion:
    fit, test = hr.split(hr.dataset("wine"), by="made", test=0.3)
    best = hr.search(
        train, fit, score=score, space={"learning_rate": hr.log_uniform(0.05, 0.5)}, trials=trials, maximize="auc"
    )
    small = hr.optimize(best, on=test, output="first", check=score, max_drop={"auc": 0.001})
    constant = hr.optimize(train_constant(fit), on=test, output="first")
    scores = score(small, test)
    hr.gates.beats_baseline(scores, score(constant, test))
    hr.gates.auc_above(scores, floor)
    hr.gates.no_bad_slice(small, rows=test, label="first", by=["cellar"], min_rows=15)
    hr.gates.parity(best, small, rows=test)
    no_worse(scores, hr.champion_scores("first", Scores))
    hr.gates.latency(small, champion="first", rows=test, at_most=50)
    reference = hr.register(constant, name="first-constant", example=test, train=fit)
    model = hr.register(small, name="first", scores=scores, example=test, train=fit)
    hr.promote(model, why="it is the first")
    hr.deploy(
        "first",
        schedule=[("first@champion", 20)],
        deadline_ms=50,
        default={"first": 0.33},
        reference=reference,
        event_time="made",
        max_batch_rows=64,
        max_wait_ms=2,
    )
    return model
