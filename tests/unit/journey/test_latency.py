import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

from headrace.assembly import open_platform
from headrace.engines.onnxruntime.runtime import OnnxRuntime
from headrace.engines.sklearn.converter import SklearnConverter
from headrace.errors import GateFailed
from headrace.evaluation.verdicts import latency_within
from headrace.journey.latency import against_champion
from headrace.journey.optimize import Optimization, optimized
from headrace.models.registry import Registration, register
from headrace.settings import Settings

RNG = np.random.default_rng(0)
ROWS = pl.DataFrame({name: RNG.normal(size=400) for name in "abcd"})
LABELS = (ROWS["a"] + ROWS["b"] > 0).to_numpy()


def export(model):
    return optimized(SklearnConverter(), OnnxRuntime(), model.fit(ROWS, LABELS), ROWS, Optimization("good"))


@pytest.fixture(scope="module")
def small():
    return export(DecisionTreeClassifier(max_depth=2, random_state=0))


@pytest.fixture(scope="module")
def large():
    return export(RandomForestClassifier(400, random_state=0))


@pytest.fixture
def platform(tmp_path):
    opened = open_platform(Settings(root=tmp_path))
    yield opened
    opened.close()


def test_a_heavier_candidate_is_found_slower(platform, small, large):
    champion = register(platform.stores(), small, Registration("good", ROWS, "CC0-1.0"))
    found = against_champion(platform.runtime, platform.files(), large, champion, ROWS)
    assert found.p50_ratio > 2
    with pytest.raises(GateFailed, match="times as long as the champion"):
        latency_within(found, 1.2)


def test_the_champion_itself_needs_no_race(platform, small):
    champion = register(platform.stores(), small, Registration("good", ROWS, "CC0-1.0"))
    assert against_champion(platform.runtime, platform.files(), small, champion, ROWS) is None
