"""``headrace.conformance.codec`` on pandas, polars, DuckDB relations and scikit-learn estimators."""

import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from headrace.conformance.codec import CodecSuite, TableCodecSuite
from headrace.engines.duckdb.codecs import duckdb_codec
from headrace.engines.duckdb.connection import connection
from headrace.engines.duckdb.tables import open_tables
from headrace.engines.pandas.codecs import pandas_codec
from headrace.engines.polars.codecs import polars_codec
from headrace.engines.sklearn.codecs import sklearn_codec
from headrace.errors import RunFailed, UsageError
from headrace.settings import Settings


@pytest.fixture
def settings(tmp_path_factory):
    return Settings(root=tmp_path_factory.mktemp("project"))


@pytest.fixture
def tables(settings):
    return lambda: open_tables(settings, "duckdb")


class TestPandas(TableCodecSuite):
    @pytest.fixture
    def codec(self, settings, tables):
        return pandas_codec(settings, tables)

    @pytest.fixture
    def native(self):
        return lambda frame: frame.to_pandas()

    def test_a_nameless_index_is_left_out(self, codec, tmp_path):
        frame = pd.DataFrame({"a": [1, 2, 3]})
        codec.save(frame[frame["a"] > 1], tmp_path)
        loaded = codec.load(tmp_path, pd.DataFrame)
        assert list(loaded.index) == [0, 1]
        assert list(loaded["a"]) == [2, 3]

    def test_a_named_index_is_refused(self, codec, tmp_path):
        with pytest.raises(UsageError, match=r"reset_index\(\)"):
            codec.save(pd.DataFrame({"a": [1]}, index=pd.Index([7], name="day")), tmp_path)


class TestPolarsDataFrame(TableCodecSuite):
    @pytest.fixture
    def codec(self, settings, tables):
        return polars_codec(settings, tables)

    @pytest.fixture
    def native(self):
        return lambda frame: frame.to_polars()


class TestPolarsLazyFrame(TestPolarsDataFrame):
    @pytest.fixture
    def native(self):
        return lambda frame: frame.to_polars().lazy()


class TestDuckdb(TableCodecSuite):
    @pytest.fixture
    def codec(self, settings, tables):
        return duckdb_codec(settings, tables)

    @pytest.fixture
    def native(self, settings):
        return lambda frame: connection(settings).from_arrow(frame.to_arrow())


class TestSklearn(CodecSuite):
    @pytest.fixture
    def codec(self, settings, tables):
        return sklearn_codec(settings, tables)

    @pytest.fixture
    def values(self):
        inputs, answers = [[0.0], [1.0], [2.0]], [0, 0, 1]
        return [
            LogisticRegression().fit(inputs, answers),
            LinearRegression().fit(inputs, answers),
            make_pipeline(StandardScaler(), LogisticRegression(C=0.5)).fit(inputs, answers),
        ]

    def same(self, left, right):
        return list(left.predict([[0.4], [1.9]])) == list(right.predict([[0.4], [1.9]]))

    def test_a_projects_own_estimator_fits(self, codec):
        assert codec.fits(type("Own", (LogisticRegression,), {}))

    def test_an_unreadable_estimator_says_so(self, codec, tmp_path):
        (tmp_path / "estimator.pickle").write_bytes(b"\x80\x05garbage")
        with pytest.raises(RunFailed, match="cannot be loaded"):
            codec.load(tmp_path, LogisticRegression)
