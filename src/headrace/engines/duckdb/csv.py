"""Parse CSV with types that every row allows, at the price of a sample.

DuckDB infers types from the first rows and then casts the rest: 1.5 below 20,000 whole numbers silently becomes 2, a
time of day below plain dates is cut off. So a sample only proposes. Each cell is read as text, cast, and compared;
where a cell does not fit, the whole file is looked at and read again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from headrace.engines.duckdb.sql import quoted, text, texts

_UNFIT = "headrace: a cell does not fit the type of its column"
# What a cell must satisfy, besides being castable, for the cast to lose nothing.
_LOSSLESS: dict[str, Callable[[str], str]] = {
    "BIGINT": lambda c: f"({c}::BIGINT)::VARCHAR = {c}",
    "BOOLEAN": lambda c: f"lower({c}) IN ('true', 'false', 't', 'f')",
    "DATE": lambda c: f"length({c}) <= 10",
    "TIMESTAMP": lambda c: f"NOT regexp_matches({c}, ':.*([Zz]|[+-][0-9]{{2}}(:?[0-9]{{2}})?)$')",
}
_CASTABLE = {"BIGINT", "BOOLEAN", "DOUBLE", "DATE", "TIME", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "VARCHAR"}
_ASKED = ("try_cast(any_value({0}) AS {1}) IS NOT NULL", "bool_and(try_cast({0} AS {1}) IS NOT NULL OR {0} IS NULL)")
_TYPED = ("DOUBLE", "TIMESTAMP", "BOOLEAN")
_ISO = {None, "", "%Y-%m-%d"}
SAMPLE_ROWS = 20480
_BUFFER_BYTES = 4 << 20
"""Of each thread that reads; a line takes half of it at most."""
_SEPARATORS = frozenset(",;\t|")


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written, and what types its columns seem to have.

    Attributes:
        options: Arguments of ``read_csv`` except the columns, as SQL.
        types: Column to DuckDB type.
        castable: Whether a plain cast reads every type here (no custom date format, no exotic type).
    """

    options: str
    types: dict[str, str]
    castable: bool


def parse_csv(
    connection: duckdb.DuckDBPyConnection,
    source: Path,
    path: Path,
    *,
    nulls: Sequence[str],
    copy: Callable[[str], None],
) -> None:
    """Turn ``source`` into Parquet at ``path``: by a sample's types where all cells fit, else by those of all rows.

    Args:
        connection: Where to run.
        source: The file.
        path: Where ``copy`` writes.
        nulls: Texts that mean null, besides the empty one.
        copy: Runs a query into the Parquet file.

    Raises:
        duckdb.Error: The file is not CSV.
    """
    sampled = sniff_csv(connection, source, nulls)
    if sampled.castable:
        try:
            copy(_checked_query(source, sampled))
        except (duckdb.ConversionException, duckdb.InvalidInputException):
            pass  # malformed lines end here too; reading the whole file then says what is wrong with them
        else:
            if not _untyped(connection, path):
                return
    whole = sniff_csv(connection, source, nulls, sample=-1)
    copy(f"SELECT * FROM {_reader(source, whole, whole.types | _zoned(connection, source, whole))}")


def sniff_csv(
    connection: duckdb.DuckDBPyConnection, source: Path, nulls: Sequence[str], *, sample: int = SAMPLE_ROWS
) -> Dialect:
    """Delimiter, quoting and types, from the first ``sample`` rows (-1: all)."""
    # Without skip=0 DuckDB drops the rows above the first one with the most columns, and says nothing.
    given = f"header=true, skip=0, comment='', nullstr={texts(['', *nulls])}"
    found = connection.execute(f"FROM sniff_csv({text(str(source))}, {given}, sample_size={sample})")
    row = dict(zip([d[0] for d in found.description], found.fetchall()[0], strict=True))
    # A quote that the sample does not show may still come later.
    quote, escape = (_character(row["Quote"]) or '"', _character(row["Escape"]) or '"')
    options = f"{given}, delim={text(_character(row['Delimiter']) or ',')}, quote={text(quote)}, escape={text(escape)}"
    for option, value in (("dateformat", row["DateFormat"]), ("timestampformat", row["TimestampFormat"])):
        options += f", {option}={text(value)}" if value else ""
    types = {c["name"]: _narrow(c["type"]) for c in row["Columns"]}
    if len(types) == 1 and _SEPARATORS.intersection(*types):
        # DuckDB takes whole lines for cells where their numbers of cells differ.
        raise duckdb.InvalidInputException("the lines do not all have as many cells as the header")
    iso = row["DateFormat"] in _ISO and not row["TimestampFormat"]
    return Dialect(options, types, castable=iso and _CASTABLE.issuperset(types.values()))


def _reader(source: Path, dialect: Dialect, types: Mapping[str, str]) -> str:
    columns = ", ".join(f"{text(name)}: {text(kind)}" for name, kind in types.items())
    given = f"auto_detect=false, columns={{{columns}}}, buffer_size={_BUFFER_BYTES}, {dialect.options}"
    return f"read_csv({text(str(source))}, {given})"


def _checked_query(source: Path, dialect: Dialect) -> str:
    cells = ", ".join(f"{_cell(name, kind)} AS {quoted(name)}" for name, kind in dialect.types.items())
    return f"SELECT {cells} FROM {_reader(source, dialect, dict.fromkeys(dialect.types, 'VARCHAR'))}"


def _cell(name: str, kind: str) -> str:
    cell = quoted(name)
    if kind == "VARCHAR":
        return cell
    if kind not in _LOSSLESS:
        return f"{cell}::{kind}"
    return f"CASE WHEN {cell} IS NULL OR {_LOSSLESS[kind](cell)} THEN {cell}::{kind} ELSE error({text(_UNFIT)}) END"


def _zoned(connection: duckdb.DuckDBPyConnection, source: Path, dialect: Dialect) -> dict[str, str]:
    """Columns of times that only sometimes name a zone, as text: DuckDB would drop the zones."""
    stamps = [name for name, kind in dialect.types.items() if kind == "TIMESTAMP"]
    if not stamps:
        return {}
    asked = ", ".join(f"bool_or(NOT {_LOSSLESS['TIMESTAMP'](quoted(name))})" for name in stamps)
    cells = _reader(source, dialect, dict.fromkeys(dialect.types, "VARCHAR"))
    answers = connection.execute(f"SELECT {asked} FROM {cells}").fetchall()[0]
    return {name: "VARCHAR" for name, answer in zip(stamps, answers, strict=True) if answer}


def _untyped(connection: duckdb.DuckDBPyConnection, parquet: Path) -> bool:
    """Whether a text column of the result holds nothing but numbers, times or truth values: its sample was all null."""
    table = f"read_parquet({text(str(parquet))})"
    described = connection.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()
    names = [quoted(name) for name, kind, *_ in described if kind == "VARCHAR"]
    # One value each is enough to clear nearly all text columns.
    for question in _ASKED:
        if not names:
            return False
        asked = ", ".join(" OR ".join(question.format(c, k) for k in _TYPED) for c in names)
        answers = connection.execute(f"SELECT {asked} FROM {table}").fetchall()[0]
        names = [name for name, answer in zip(names, answers, strict=True) if answer]
    return bool(names)


def _narrow(kind: str) -> str:
    return "VARCHAR" if kind in {"HUGEINT", "UHUGEINT"} else kind  # digits past 64 bits are an id


def _character(value: str) -> str:
    return "" if value == "(empty)" else value
