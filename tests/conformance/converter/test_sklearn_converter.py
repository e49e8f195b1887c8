import numpy as np
import polars as pl
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from headrace.conformance.converter import ConverterSuite, Trained
from headrace.engines.onnxruntime.runtime import OnnxRuntime
from headrace.engines.sklearn.converter import SklearnConverter

NUMBERS, ROWS = ["width", "height", "count"], 400


def orders(*, nulls=True):
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "colour": rng.choice(["red", "green", "blue"], ROWS),
            "width": rng.normal(3.0, 1.0, ROWS),
            "day": ["monday"] * ROWS,
            "height": rng.normal(0.0, 100.0, ROWS),
            "count": rng.integers(0, 9, ROWS),
        }
    )
    late = (frame["width"] * (frame["colour"] == "red") + rng.normal(0, 1, ROWS) > 1).to_numpy()
    if nulls:
        holes = pl.Series(rng.random(ROWS) < 0.1)
        frame = frame.with_columns(pl.when(holes).then(None).otherwise(pl.col("height", "colour")).name.keep())
    return frame, late


def encoded(numbers, text):
    return ColumnTransformer([("numbers", numbers, NUMBERS), ("text", text, ["colour"])])


def unknown_as_number():
    return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)


def boosted():
    return make_pipeline(encoded("passthrough", unknown_as_number()), HistGradientBoostingClassifier(max_iter=20))


def linear():
    scaled = make_pipeline(SimpleImputer(), StandardScaler())
    return make_pipeline(encoded(scaled, OneHotEncoder(handle_unknown="ignore")), LogisticRegression(max_iter=500))


def forest():
    filled = encoded(SimpleImputer(strategy="median"), unknown_as_number())
    return make_pipeline(filled, RandomForestClassifier(20, random_state=0))


def ridge():
    scaled = make_pipeline(SimpleImputer(), StandardScaler())
    return make_pipeline(encoded(scaled, OneHotEncoder(handle_unknown="ignore")), Ridge())


MODELS = [boosted, linear, forest, ridge]


class TestPipelines(ConverterSuite):
    @pytest.fixture
    def converter(self):
        return SklearnConverter()

    @pytest.fixture
    def runtime(self):
        return OnnxRuntime()

    @pytest.fixture(params=MODELS, ids=lambda make: make.__name__)
    def trained(self, request):
        frame, late = orders()
        return Trained(request.param().fit(frame, late), frame)


class TestTrainedOnPandas(TestPipelines):
    @pytest.fixture(params=[boosted, linear], ids=lambda make: make.__name__)
    def trained(self, request):
        frame, late = orders()
        return Trained(request.param().fit(frame.to_pandas(), late), frame.to_pandas())


class TestConstantBaselines(TestPipelines):
    @pytest.fixture(params=["classifier", "regressor", "pipeline"])
    def trained(self, request):
        frame, late = orders()
        if request.param == "pipeline":
            return Trained(
                make_pipeline(encoded("passthrough", unknown_as_number()), DummyClassifier()).fit(frame, late), frame
            )
        model = DummyClassifier() if request.param == "classifier" else DummyRegressor()
        return Trained(model.fit(frame, late), frame)


class TestPlainEstimators(TestPipelines):
    @pytest.fixture(params=["boosted", "scaled", "regressor"])
    def trained(self, request):
        frame, late = orders(nulls=False)
        models = {
            "boosted": HistGradientBoostingClassifier(max_iter=20),
            "scaled": make_pipeline(StandardScaler(), LogisticRegression()),
            "regressor": GradientBoostingRegressor(n_estimators=20),
        }
        return Trained(models[request.param].fit(frame.select(NUMBERS), late), frame)
