"""Files that are larger than memory ought to be become datasets in bounded memory."""

import json
import os
import subprocess
import sys

import numpy as np
import peak
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

SOAK = bool(os.environ.get("HEADRACE_SOAK"))
ROWS = 5_000_000 if SOAK else 1_000_000
BLOCK = 250_000
MOST_MIB = 350.0 if SOAK else 270.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900 if SOAK else 180)]


def blocks():
    """A key, a number that hardly ever repeats, and a few names; a block at a time."""
    chance = np.random.default_rng(5)
    for start in range(0, ROWS, BLOCK):
        rows = range(start, start + BLOCK)
        yield pa.table(
            {
                "id": [f"order {row:09}-{row * 7919 % 1000003:020}" for row in rows],
                "amount": chance.normal(size=BLOCK),
                "shop": [f"shop {row % 977}" for row in rows],
            }
        )


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_large_file_becomes_a_dataset_in_bounded_memory(tmp_path, figure, kind):
    file = tmp_path / f"orders.{kind}"
    (tmp_path / "headrace.toml").write_text("workers = 2\n")
    if kind == "csv":
        schema = next(blocks()).schema
        with pc.CSVWriter(file, schema) as writer:
            for block in blocks():
                writer.write_table(block)
    else:  # all in one row group
        pq.write_table(pa.concat_tables(blocks()), file, row_group_size=ROWS)
    command = [sys.executable, peak.__file__, sys.executable, "-m", "headrace", "data", "put", str(file), "--json"]
    said = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True).stdout
    printed, peak_kib = said.rstrip().rsplit("\n", 1)
    figure(f"datasets.put_{kind}_peak_mib", int(peak_kib) / 1024)
    (stored,) = json.loads(printed)
    assert stored["rows"] == ROWS
    assert int(peak_kib) / 1024 < MOST_MIB
