"""``headrace.conformance.codec`` on narwhals, pyarrow and NumPy."""

import numpy as np
import pytest

from headrace.conformance.codec import CodecSuite, TableCodecSuite
from headrace.engines.duckdb.tables import open_tables
from headrace.engines.local.codecs import arrow_codec, narwhals_codec, numpy_codec
from headrace.errors import UsageError
from headrace.settings import Settings


def _tables(settings):
    return lambda: open_tables(settings, "duckdb")


class TestNarwhalsDataFrame(TableCodecSuite):
    @pytest.fixture
    def codec(self, tmp_path_factory):
        settings = Settings(root=tmp_path_factory.mktemp("project"))
        return narwhals_codec(settings, _tables(settings))

    @pytest.fixture
    def native(self):
        return lambda frame: frame


class TestNarwhalsLazyFrame(TestNarwhalsDataFrame):
    @pytest.fixture
    def native(self):
        return lambda frame: frame.lazy()


class TestArrow(TableCodecSuite):
    @pytest.fixture
    def codec(self, tmp_path_factory):
        settings = Settings(root=tmp_path_factory.mktemp("project"))
        return arrow_codec(settings, _tables(settings))

    @pytest.fixture
    def native(self):
        return lambda frame: frame.to_native()


class TestNumpy(CodecSuite):
    @pytest.fixture
    def codec(self, tmp_path):
        return numpy_codec(Settings(root=tmp_path), _tables(None))

    @pytest.fixture
    def values(self):
        return [
            np.arange(6.0).reshape(2, 3),
            np.arange(6.0).reshape(3, 2),
            np.arange(6, dtype=np.float32).reshape(2, 3),
            np.array(["a", "Zürich"]),
            np.array(["2024-02-29"], dtype="datetime64[s]"),
            np.zeros((0, 4)),
        ]

    def same(self, left, right):
        return left.dtype == right.dtype and np.array_equal(left, right)

    def test_objects_are_refused(self, codec, tmp_path):
        with pytest.raises(UsageError, match="Python objects"):
            codec.save(np.array([object()]), tmp_path)
