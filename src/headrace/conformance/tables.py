"""What every Tables engine must do. Subclass ``TablesSuite`` and give it a ``tables`` fixture."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import narwhals as nw
import pyarrow as pa
import pytest

from headrace.errors import DataRefused, NotFound
from headrace.storage.tables import TableFacts, Tables

LATE = 30_000
"""Rows before the one that decides a column's type; past what engines sample."""


class Twice:
    """Doubles a column of whole numbers; a ``storage.tables.Through`` that remembers what it was given."""

    def __init__(self, fails_after: int | None = None) -> None:
        self.sizes: list[int] = []
        self.first: list[int] = []
        self._fails_after = fails_after

    def schema(self, given: pa.Schema) -> pa.Schema:
        """The column under its new name, then all others."""
        return pa.schema([pa.field("twice", pa.int64()), *list(given)[1:]])

    def batches(self, given: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Each batch with its first column doubled."""
        for rows in given:
            values = [2 * value for value in rows.column(0).to_pylist()]
            self.sizes.append(len(values))
            self.first += values if len(self.sizes) < 3 else []
            if self._fails_after is not None:
                raise DataRefused(f"after {self._fails_after}")
            yield pa.record_batch([pa.array(values), *rows.columns[1:]], schema=self.schema(rows.schema))


class TablesSuite:
    """The cases. Each engine's test subclasses this with a fixture ``tables`` that opens the engine."""

    @pytest.fixture
    def tables(self) -> Tables:
        """The engine under test."""
        raise NotImplementedError

    def rows(self, tables: Tables, path: Path, *by: str) -> list[dict[str, Any]]:
        """What a stored table holds, sorted by ``by`` (all columns by default)."""
        frame = tables.scan([path])
        return list(frame.sort(*(by or frame.collect_schema().names())).collect("pyarrow").iter_rows(named=True))

    def csv(self, tables: Tables, folder: Path, text: str | bytes, **options: Any) -> tuple[TableFacts, Path]:
        """Ingest a CSV file of this content."""
        source, target = folder / "source.csv", folder / "target.parquet"
        source.write_bytes(text.encode() if isinstance(text, str) else text)
        return tables.ingest(source, target, **options), target

    def test_csv_gets_types_and_nulls(self, tables: Tables, tmp_path: Path) -> None:
        """Each type is inferred, and the given null text is null."""
        text = "id,price,open,day,seen,label\n1,1.5,true,2024-02-29,2024-02-29 10:00:00,a\n2,NA,false,,,\n"
        facts, path = self.csv(tables, tmp_path, text, nulls=["NA"])
        assert facts.rows == 2
        assert facts.schema["id"] == "Int64"
        assert facts.schema["price"] == "Float64"
        assert facts.schema["open"] == "Boolean"
        assert facts.schema["day"] == "Date"
        assert facts.schema["seen"].startswith("Datetime(")
        assert facts.schema["label"] == "String"
        second = self.rows(tables, path, "id")[1]
        assert second == {"id": 2, "price": None, "open": False, "day": None, "seen": None, "label": None}

    @pytest.mark.parametrize(
        ("usual", "last", "dtype"),
        [
            ("1", "1.5", "Float64"),
            ("1", "one", "String"),
            ("1", "007", "String"),
            ("1", "99999999999999999999999", "String"),
            ("", "7", "Int64"),
            ("", "2024-01-01", "Date"),
            ("2024-01-01", "2024-01-02 10:30:00", "Datetime"),
            ("2024-01-01 10:00:00", "2024-01-01 10:00:00+02:00", "String"),
            ("true", "maybe", "String"),
            ("x", '"a, b"', "String"),
        ],
    )
    def test_a_late_row_decides_the_type(
        self, tables: Tables, tmp_path: Path, *, usual: str, last: str, dtype: str
    ) -> None:
        """A type holds for every row, not for the first ones; nothing is rounded or cut."""
        facts, path = self.csv(tables, tmp_path, "n,v\n" + f"0,{usual}\n" * LATE + f"1,{last}\n")
        assert facts.schema["v"].startswith(dtype)
        value = self.rows(tables, path, "n")[-1]["v"]
        assert str(value) == last.strip('"')

    @pytest.mark.parametrize(
        "text", ["", "\n\n", "a,b\n1,2\n1,2,3\n", b"a,b\n\x00\x01,2\n", b"a,b\nf\xfcr,2\n", "<html>gone</html>\n"]
    )
    def test_what_is_no_table_is_refused(self, tables: Tables, tmp_path: Path, text: str | bytes) -> None:
        """Empty, ragged, binary and wrongly encoded files raise."""
        with pytest.raises(DataRefused):
            self.csv(tables, tmp_path, text)

    def test_delimiters_headers_and_empty_tables(self, tables: Tables, tmp_path: Path) -> None:
        """The dialect is found, the first line is the header, no rows are a table too."""
        facts, path = self.csv(tables, tmp_path, '"fixed acidity";"name"\n7.4;"Grün"\n')
        assert self.rows(tables, path) == [{"fixed acidity": 7.4, "name": "Grün"}]
        words, path = self.csv(tables, tmp_path, "code,name\nAA,Alpha\nBB,Beta\n")
        assert [row["code"] for row in self.rows(tables, path)] == ["AA", "BB"]
        nothing, _ = self.csv(tables, tmp_path, "a,b\n")
        assert (nothing.rows, list(nothing.schema)) == (0, ["a", "b"])
        assert len({facts.digest, words.digest, nothing.digest}) == 3

    def test_json_lines_and_parquet_are_told_by_their_bytes(self, tables: Tables, tmp_path: Path) -> None:
        """The ending of the file name does not matter, and content keeps its digest."""
        lines = tmp_path / "lines.txt"
        lines.write_text("".join(json.dumps({"id": i, "v": i / 2}) + "\n" for i in range(3)))
        first = tables.ingest(lines, tmp_path / "first.parquet")
        second = tables.ingest(tmp_path / "first.parquet", tmp_path / "second.parquet")
        assert first == second
        assert dict(first.schema) == {"id": "Int64", "v": "Float64"}

    def test_digest_ignores_order_of_rows_only(self, tables: Tables, tmp_path: Path) -> None:
        """Any other change changes it: rows, columns, their order, types, values, null."""
        base = pa.table({"a": [1, 2, None, 2], "b": ["x", None, "z", "y"]})

        def digest(table: pa.Table) -> str:
            return tables.write(nw.from_native(table), tmp_path / "table.parquet").digest

        due = digest(base)
        assert digest(base.take([3, 1, 0, 2])) == due
        changed = [
            base.slice(0, 3),
            pa.concat_tables([base, base.slice(0, 1)]),
            base.rename_columns(["a", "c"]),
            base.select(["b", "a"]),
            base.set_column(0, "a", base["a"].cast(pa.float64())),
            base.set_column(0, "a", pa.array([1, 2, 2, None])),
            base.set_column(1, "b", pa.array(["x", "", "z", "y"])),
        ]
        assert len({due, *map(digest, changed)}) == len(changed) + 1

    def test_write_runs_a_plan_and_says_what_it_left(self, tables: Tables, tmp_path: Path) -> None:
        """The facts are those of the file, and sums keep the type of what was added."""
        at = datetime(2024, 1, 1, 12, tzinfo=UTC)
        source = pa.table(
            {"k": ["a", "b", "a"], "n": [1, 2, 3], "at": pa.array([at, None, at], pa.timestamp("us", "UTC"))}
        )
        tables.write(nw.from_native(source), tmp_path / "source.parquet")
        plan = tables.scan([tmp_path / "source.parquet"]).group_by("k").agg(nw.col("n").sum(), nw.col("at").max())
        facts = tables.write(plan, tmp_path / "sums.parquet")
        assert facts.schema["n"] == "Int64"  # not the wider type that an engine adds in
        assert facts == tables.digest(tmp_path / "sums.parquet")
        assert self.rows(tables, tmp_path / "sums.parquet") == [
            {"k": "a", "n": 4, "at": at},
            {"k": "b", "n": 2, "at": None},
        ]

    def test_write_hands_rows_through_in_order(self, tables: Tables, tmp_path: Path) -> None:
        """What comes of each batch is written, in the plan's order, and no batch is the whole table."""
        source = pa.table({"i": range(LATE), "pair": [[i, -i] for i in range(LATE)]})
        tables.write(nw.from_native(source), tmp_path / "source.parquet")
        twice = Twice()
        facts = tables.write(tables.scan([tmp_path / "source.parquet"]), tmp_path / "twice.parquet", through=twice)
        assert (facts.rows, dict(facts.schema)) == (LATE, {"twice": "Int64", "pair": "List(Int64)"})
        assert facts == tables.digest(tmp_path / "twice.parquet")
        assert twice.first == [2 * i for i in range(sum(twice.sizes[:2]))]
        assert len(twice.sizes) > 1
        found = tables.scan([tmp_path / "twice.parquet"]).sort("twice").collect("pyarrow").to_arrow()
        assert found.slice(LATE - 1).to_pylist() == [{"twice": 2 * (LATE - 1), "pair": [LATE - 1, 1 - LATE]}]

    def test_what_rows_are_handed_through_may_raise(self, tables: Tables, tmp_path: Path) -> None:
        """Its own error arrives as it was raised, and the engine goes on working."""
        tables.write(nw.from_native(pa.table({"i": range(LATE)})), tmp_path / "source.parquet")
        frame = tables.scan([tmp_path / "source.parquet"])
        with pytest.raises(DataRefused, match="after 8"):
            tables.write(frame, tmp_path / "twice.parquet", through=Twice(fails_after=8))
        assert tables.digest(tmp_path / "source.parquet").rows == LATE

    def test_scan_reads_several_files_as_one(self, tables: Tables, tmp_path: Path) -> None:
        """Files of one schema are one table; a missing one raises."""
        paths = [tmp_path / f"{i}.parquet" for i in range(2)]
        for i, path in enumerate(paths):
            tables.write(nw.from_native(pa.table({"i": [i]})), path)
        assert sorted(tables.scan(paths).collect("pyarrow")["i"].to_list()) == [0, 1]
        with pytest.raises(NotFound):
            tables.scan([tmp_path / "absent.parquet"])
