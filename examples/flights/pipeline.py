"""Will this flight arrive more than a quarter of an hour late? Asked an hour before it is due to leave."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import narwhals as nw
import polars as pl
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

import headrace as hr

LATE_MINUTES = 15
LEAD = timedelta(hours=1)  # a prediction is made this long before the scheduled departure
RECENT = timedelta(hours=2)  # how far back "congestion" looks

MONTHS = (3, 4, 5, 6, 7)  # served live, after training on January and February

KEY = ["time_hour", "carrier", "flight"]  # unique in the data
WEATHER = ["temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"]
NUMBERS = ["hour", "minute", "weekday", "distance", *WEATHER, "recent_departures", "recent_delay"]
TEXTS = ["carrier", "origin", "dest"]
INPUTS = [*NUMBERS, *TEXTS]


@dataclass(frozen=True)
class Scores:
    """How good a model is on rows it has not seen."""

    auc: float
    log_loss: float
    brier: float


@hr.step
def clean(flights: nw.LazyFrame) -> nw.LazyFrame:
    """Instants, and the label; the label is null where the arrival is not known (cancelled, diverted)."""
    minute = nw.lit(timedelta(minutes=1))
    waited = _minutes("dep_time") - _minutes("sched_dep_time")
    waited = nw.when(waited < -6 * 60).then(waited + 24 * 60).otherwise(waited)  # left after midnight
    planned = nw.col("time_hour") + nw.col("minute") * minute
    return (
        flights.with_columns(planned=planned, waited=waited)
        .with_columns(
            asked=nw.col("planned") - nw.lit(LEAD),
            left=nw.col("planned") + nw.col("waited") * minute,
            # New York's standard time, so that an evening flight keeps its day.
            weekday=nw.col("planned").dt.offset_by("-5h").dt.weekday(),
            late=(nw.col("arr_delay") > LATE_MINUTES).cast(nw.Int64),
        )
        .select(*KEY, "asked", "left", "waited", "late", "hour", "minute", "weekday", "distance", *TEXTS[1:])
    )


def _minutes(column: str) -> nw.Expr:
    return nw.col(column) // 100 * 60 + nw.col(column) % 100


@hr.step
def features(flights: nw.LazyFrame, weather: nw.LazyFrame) -> nw.LazyFrame:
    """What can be known when the question is asked: the newest weather report, and how departures went lately.

    Training rows and live requests both come out of this one step; nothing in it looks past ``asked``.
    """
    departures = flights.filter(~nw.col("left").is_null()).select(
        "origin", "left", recent_waited=nw.col("waited"), recent_departures=nw.lit(1)
    )
    rows = hr.features.recent(flights, departures, by=["origin"], at="asked", event_time="left", window=RECENT)
    reports = weather.select("origin", *WEATHER, reported=nw.col("time_hour"))
    rows = hr.features.latest(
        rows, reports, by=["origin"], at="asked", event_time="reported", within=timedelta(hours=6)
    )
    busy = nw.col("recent_departures") > 0
    delay = nw.when(busy).then(nw.col("recent_waited") / nw.col("recent_departures"))
    return rows.with_columns(recent_delay=delay).select("asked", *dict.fromkeys([*KEY, *INPUTS]), "late")


@hr.step
def season(rows: nw.LazyFrame, until: str) -> nw.LazyFrame:
    """Rows with a known outcome before the day ``until``."""
    day = datetime.fromisoformat(until + "T00:00:00+00:00")
    return rows.filter(~nw.col("late").is_null(), nw.col("time_hour") < nw.lit(day)).sort(*KEY)


@hr.step
def train(rows: pl.DataFrame, learning_rate: float = 0.05, max_leaf_nodes: int = 15, max_iter: int = 200) -> Pipeline:
    """Boosted trees. Numbers pass untouched: float32 is then exact enough for the served model to agree."""
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = ColumnTransformer([("numbers", "passthrough", NUMBERS), ("texts", codes, TEXTS)])
    trees = HistGradientBoostingClassifier(
        learning_rate=learning_rate, max_leaf_nodes=max_leaf_nodes, max_iter=max_iter, random_state=0
    )
    return Pipeline([("columns", columns), ("trees", trees)]).fit(rows.select(INPUTS), rows["late"].to_numpy())


@hr.step
def train_linear(rows: pl.DataFrame) -> Pipeline:
    """A logistic regression: answers when the trees do not, in a tenth of their time."""
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = ColumnTransformer(
        [("numbers", numbers, NUMBERS), ("texts", OneHotEncoder(handle_unknown="ignore"), TEXTS)]
    )
    line = LogisticRegression(max_iter=500)
    return Pipeline([("columns", columns), ("line", line)]).fit(rows.select(INPUTS), rows["late"].to_numpy())


@hr.step
def train_constant(rows: pl.DataFrame) -> DummyClassifier:
    """The share of late flights, whatever is asked: what a model must beat."""
    return DummyClassifier(strategy="prior").fit(rows.select(INPUTS), rows["late"].to_numpy())


@hr.step
def score(model: Pipeline | hr.Artifact, rows: pl.DataFrame) -> Scores:
    """The scores of a model, trained or exported."""
    truth, chance = rows["late"].to_numpy(), hr.predict(model, rows)
    return Scores(
        auc=hr.metrics.auc(truth, chance),
        log_loss=hr.metrics.log_loss(truth, chance),
        brier=hr.metrics.brier(truth, chance),
    )


@hr.gate
def good_enough(new: Scores) -> None:
    """A failing gate prints the values, registers nothing and deploys nothing."""
    assert new.auc > 0.65


@hr.pipeline
def late(trials: int = 6) -> hr.ModelVersion:
    """From raw flights to a served model: clean, join, search, export, check, register, deploy."""
    rows = features(clean(hr.dataset("flights")), hr.dataset("weather"))
    fit, test = hr.split(season(rows, until="2013-03-01"), by="time_hour", at="2013-02-20")
    trees = hr.search(
        train,
        fit,
        score=score,
        maximize="auc",
        trials=trials,
        space={"learning_rate": hr.log_uniform(0.02, 0.15), "max_leaf_nodes": hr.choice(7, 15, 31)},
    )
    boosted = hr.optimize(trees, to="onnx", on=test, output="late")
    linear = hr.optimize(train_linear(fit), to="onnx", on=test, output="late")
    constant = hr.optimize(train_constant(fit), to="onnx", on=test, output="late")

    boosted_scores, linear_scores, constant_scores = score(boosted, test), score(linear, test), score(constant, test)
    good_enough(boosted_scores)
    hr.gates.beats_baseline(boosted_scores, constant_scores, metric="log_loss")
    hr.gates.no_bad_slice(boosted, rows=test, label="late", by=["carrier", "origin"], min_rows=500, floor=0.55)
    hr.gates.latency(boosted, champion="late", rows=test, at_most=1.5)

    given = {"example": test, "train": fit, "nullable": [*WEATHER, "recent_delay"]}
    reference = hr.register(constant, name="late-constant", scores=constant_scores, **given)
    fallback = hr.register(linear, name="late-linear", scores=linear_scores, **given)
    model = hr.register(boosted, name="late", scores=boosted_scores, **given)
    hr.promote(model)
    hr.deploy(
        "late",
        schedule=[(model, 20), (fallback, 40)],
        deadline_ms=50,
        default={"late": 0.22},
        reference=reference,
        event_time="asked",
    )
    return model


@hr.step
def as_known(flights: nw.LazyFrame, month: int) -> nw.LazyFrame:
    """The flights that are asked about in a month, and the day before for context; nothing that comes after."""
    start, end = datetime(2013, month, 1, tzinfo=UTC), datetime(2013, month + 1, 1, tzinfo=UTC)
    context, due = nw.lit(start - timedelta(days=1)), nw.lit(end + 2 * LEAD)  # due soon after: asked before the end
    return flights.filter(nw.col("time_hour") >= context, nw.col("time_hour") < due)


@hr.step
def requests(rows: nw.LazyFrame, month: int, every: int) -> nw.LazyFrame:
    """One in ``every`` of the month's questions, in the order in which they were asked."""
    start, end = datetime(2013, month, 1, tzinfo=UTC), datetime(2013, month + 1, 1, tzinfo=UTC)
    return (
        rows.filter(nw.col("asked") >= nw.lit(start), nw.col("asked") < nw.lit(end))
        .with_row_index("number", order_by=["asked", *KEY])
        .filter(nw.col("number") % every == 0)
        .drop("number")
    )


@hr.step
def in_order(
    march: pl.DataFrame, april: pl.DataFrame, may: pl.DataFrame, june: pl.DataFrame, july: pl.DataFrame
) -> pl.DataFrame:
    """Five months of requests as they would come in."""
    return pl.concat([march, april, may, june, july]).sort("asked", *KEY)


@hr.pipeline
def traffic(every: int = 7) -> pl.DataFrame:
    """What the endpoint will be asked from March to July: each month's features, computed before the next began."""
    flights, weather = hr.dataset("flights"), hr.dataset("weather")
    return in_order(*[requests(features(clean(as_known(flights, m)), weather), m, every) for m in MONTHS])


@hr.pipeline
def offline(every: int = 7) -> pl.DataFrame:
    """The same rows out of the features of the whole year, to hold what was served against."""
    rows = features(clean(hr.dataset("flights")), hr.dataset("weather"))
    return in_order(*[requests(rows, m, every) for m in MONTHS])
