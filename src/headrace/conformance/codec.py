"""What every Codec must do. Subclass ``TableCodecSuite`` (tables) or ``CodecSuite`` (anything else)."""

from pathlib import Path
from typing import Any

import narwhals as nw
import pytest

from headrace.pipelines.ports import TABLE, TABLE_FILE, Codec

ROWS: list[dict[str, Any]] = [
    {"id": 1, "price": 1.5, "label": "Zürich", "open": True},
    {"id": 2, "price": None, "label": None, "open": False},
    {"id": 3, "price": -0.25, "label": "", "open": None},
]


class CodecSuite:
    """The cases. Each engine's test gives ``codec``, ``values`` (some, all different) and overrides ``same``."""

    @pytest.fixture
    def codec(self) -> Codec:
        """The engine under test."""
        raise NotImplementedError

    @pytest.fixture
    def values(self) -> list[Any]:
        """Values that the codec keeps, no two equal."""
        raise NotImplementedError

    def same(self, left: Any, right: Any) -> bool:
        """Whether a loaded value is what was saved."""
        return bool(left == right)

    def test_values_come_back(self, codec: Codec, values: list[Any], tmp_path: Path) -> None:
        """What was saved is loaded, as the class it was, from files alone."""
        for number, value in enumerate(values):
            folder = tmp_path / str(number)
            folder.mkdir()
            stored = codec.save(value, folder)
            assert (stored.codec, stored.form) == (codec.name, codec.form)
            assert any(folder.iterdir())
            loaded = codec.load(folder, type(value))
            assert isinstance(loaded, type(value))
            assert self.same(loaded, value)

    def test_digests_tell_values_apart(self, codec: Codec, values: list[Any], tmp_path: Path) -> None:
        """Equal values have one digest, different ones different digests."""
        digests = []
        for number, value in enumerate([*values, *values]):
            folder = tmp_path / str(number)
            folder.mkdir()
            digests.append(codec.save(value, folder).digest)
        assert digests[: len(values)] == digests[len(values) :]
        assert len(set(digests)) == len(values)

    def test_it_fits_its_own_classes_only(self, codec: Codec, values: list[Any]) -> None:
        """Its values' classes, and neither Python's own nor one of another library."""
        assert all(codec.fits(type(value)) for value in values)
        assert not any(codec.fits(other) for other in (int, dict, Path, list[int], Any, None, CodecSuite))


class TableCodecSuite(CodecSuite):
    """The cases for tables: any codec loads what any other wrote. Each engine's test gives ``codec`` and ``native``."""

    @pytest.fixture
    def native(self) -> Any:
        """A function from a narwhals frame on pyarrow to a table of the codec's library."""
        raise NotImplementedError

    @pytest.fixture
    def values(self, native: Any) -> list[Any]:
        """Three tables: all rows, fewer rows, fewer columns."""
        frame = table(ROWS)
        return [native(frame), native(frame.head(2)), native(frame.drop("label"))]

    def same(self, left: Any, right: Any) -> bool:
        """Equal rows in whatever order, and equal column names."""
        return rows_of(left) == rows_of(right)

    def test_tables_share_one_form(self, codec: Codec, values: list[Any], tmp_path: Path) -> None:
        """One Parquet file, with facts for people."""
        stored = codec.save(values[0], tmp_path)
        assert stored.form == TABLE
        assert [path.name for path in tmp_path.iterdir()] == [TABLE_FILE]
        assert stored.about["rows"] == len(ROWS)
        assert list(stored.about["schema"]) == list(ROWS[0])

    def test_row_order_does_not_change_the_digest(self, codec: Codec, native: Any, tmp_path: Path) -> None:
        """Equal rows have one digest in any order."""
        digests = set()
        for number, rows in enumerate((ROWS, ROWS[::-1])):
            folder = tmp_path / str(number)
            folder.mkdir()
            digests.add(codec.save(native(table(rows)), folder).digest)
        assert len(digests) == 1

    def test_nulls_stay_null(self, codec: Codec, values: list[Any], tmp_path: Path) -> None:
        """A null number is null for whoever loads the file, never NaN; an empty text is not null."""
        import pyarrow.parquet as pq

        codec.save(values[0], tmp_path)
        stored = sorted(pq.read_table(tmp_path / TABLE_FILE).to_pylist(), key=lambda row: int(row["id"]))
        assert [row["price"] for row in stored] == [1.5, None, -0.25]
        assert [row["label"] for row in stored] == ["Zürich", None, ""]


def table(rows: list[dict[str, Any]]) -> "nw.DataFrame[Any]":
    """Rows as a narwhals frame on pyarrow."""
    import pyarrow as pa

    frame: nw.DataFrame[Any] = nw.from_native(pa.Table.from_pylist(rows), eager_only=True)
    return frame


def rows_of(value: Any) -> list[tuple[Any, ...]]:
    """The rows of any table, sorted, missing numbers as None."""
    frame = value if isinstance(value, nw.LazyFrame | nw.DataFrame) else nw.from_native(value)
    eager = frame.collect() if isinstance(frame, nw.LazyFrame) else frame
    rows = [tuple(None if str(cell) in {"nan", "<NA>"} else cell for cell in row) for row in eager.iter_rows()]
    return [tuple(eager.columns), *sorted(rows, key=repr)]
