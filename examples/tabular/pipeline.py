"""Will an order be sent back? A small pipeline: change it step by step into your own."""

from dataclasses import dataclass
from typing import Any

import narwhals as nw
from sklearn.ensemble import HistGradientBoostingClassifier

import headrace as hr

INPUTS = ["amount", "items", "item_price", "days_to_deliver", "returned_before"]


@dataclass(frozen=True)
class Scores:
    """How good a model is on orders it has not seen."""

    auc: float
    log_loss: float


@hr.step
def features(orders: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """What is known of an order when it is placed, and whether it came back."""
    return orders.with_columns(item_price=nw.col("amount") / nw.col("items"))


@hr.step
def inputs(rows: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """Exactly what the model takes: these columns become its signature."""
    return rows.select(INPUTS)


@hr.step
def train(rows: nw.DataFrame[Any], learning_rate: float = 0.1) -> HistGradientBoostingClassifier:
    """Boosted trees."""
    model = HistGradientBoostingClassifier(learning_rate=learning_rate, max_iter=60, max_leaf_nodes=8, random_state=0)
    return model.fit(rows.select(INPUTS).to_numpy(), rows["returned"].to_numpy())


@hr.step
def score(model: HistGradientBoostingClassifier | hr.Artifact, rows: nw.DataFrame[Any]) -> Scores:
    """The scores of a model, trained or exported."""
    truth, chance = rows["returned"].to_numpy(), hr.predict(model, rows.select(INPUTS))
    return Scores(auc=hr.metrics.auc(truth, chance), log_loss=hr.metrics.log_loss(truth, chance))


@hr.gate
def good_enough(new: Scores, champion: Scores | None) -> None:
    """Nothing is registered or deployed unless this holds."""
    assert new.auc > 0.7
    assert champion is None or new.auc >= champion.auc - 0.005


@hr.pipeline
def returns(trials: int = 4) -> hr.ModelVersion:
    """From orders to a served model."""
    fit, test = hr.split(features(hr.dataset("orders")), by="placed_at", test=0.2)
    best = hr.search(
        train, fit, score=score, maximize="auc", trials=trials, space={"learning_rate": hr.log_uniform(0.03, 0.3)}
    )
    asked = inputs(test)
    served = hr.optimize(best, on=asked, output="returned")
    scores = score(served, test)
    good_enough(scores, hr.champion_scores("returns", Scores))
    model = hr.register(served, name="returns", scores=scores, example=asked, train=inputs(fit))
    hr.promote(model)
    hr.deploy("returns", schedule=[(model, 20)], deadline_ms=50, default={"returned": 0.2})
    return model
