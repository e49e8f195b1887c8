"""``headrace.conformance.tables`` on DuckDB."""

import pytest

from headrace.conformance.tables import TablesSuite
from headrace.engines.duckdb.tables import open_tables
from headrace.settings import Settings


class TestDuckTables(TablesSuite):
    @pytest.fixture
    def tables(self, tmp_path):
        tables = open_tables(Settings(root=tmp_path, workers=1), "duckdb")
        yield tables
        tables.close()
