from itertools import pairwise

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace.engines.duckdb.connection import connection, memory_steps
from headrace.engines.duckdb.tables import DuckTables
from headrace.settings import Settings

LITTLE_MB = 20


@pytest.fixture
def settings(tmp_path):
    return Settings(root=tmp_path, workers=2, tables_memory_mb=LITTLE_MB)


def limit(settings):
    (said,) = connection(settings).execute("SELECT current_setting('memory_limit')").fetchone()
    return said


def test_the_engine_begins_with_what_the_settings_give_it(settings):
    assert limit(settings) == "20.0 MiB"
    assert next(memory_steps(settings)) == LITTLE_MB
    connection(settings).close()


def test_each_step_is_twice_the_last_up_to_a_share_of_the_machine(settings, tmp_path):
    steps, (share,) = list(memory_steps(settings)), memory_steps(Settings(root=tmp_path, workers=2))
    assert steps[:2] == [LITTLE_MB, 2 * LITTLE_MB]
    assert steps[-1] == share
    assert all(low < high <= 2 * low for low, high in pairwise(steps))
    assert list(memory_steps(Settings(root=tmp_path, workers=2, tables_memory_mb=10 * share))) == [10 * share]


def test_a_file_that_needs_more_is_given_more(settings, tmp_path):
    file, path = tmp_path / "images.parquet", tmp_path / "data.parquet"
    table = pa.table({"image": [bytes([n % 251]) * 4_000_000 for n in range(24)], "number": list(range(24))})
    pq.write_table(table, file, compression="none", use_dictionary=False)
    with pytest.raises(duckdb.OutOfMemoryException):
        connection(settings).execute(f"COPY (FROM '{file}') TO '{path}' (FORMAT parquet)")
    tables = DuckTables(settings)
    assert tables.ingest(file, path).rows == 24
    assert pq.read_table(path).to_pydict() == table.to_pydict()
    assert float(limit(settings).split()[0]) > LITTLE_MB
    tables.close()
