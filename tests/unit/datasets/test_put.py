"""Putting: equal content is one version, whoever puts it and in whatever form; nothing half-made stays."""

import gzip
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.datasets import put as module
from headrace.datasets.catalogue import find, versions
from headrace.datasets.contents import contract_of, profile_of, table
from headrace.datasets.contract import Expectations
from headrace.datasets.keep import Terms
from headrace.datasets.put import put
from headrace.engines.duckdb.tables import open_tables
from headrace.errors import Conflict, DataRefused, IntegrityError, NameRefused, NotFound
from headrace.settings import Settings

ORDERS = "id,amount,state\n" + "".join(f"{i},{i / 2},{'open' if i % 3 else 'closed'}\n" for i in range(100))


def test_equal_content_is_the_same_version(stores, csv, tmp_path):
    first = put(stores, "orders", csv("orders", ORDERS), licence="CC0-1.0")
    assert (first.version, first.rows, str(first)) == (1, 100, "orders@1")
    assert dict(first.schema) == {"id": "Int64", "amount": "Float64", "state": "String"}
    header, *lines = ORDERS.splitlines()
    shuffled = csv("shuffled", "\n".join([header, *reversed(lines)]) + "\n")
    packed = tmp_path / "orders.csv.gz"
    packed.write_bytes(gzip.compress(ORDERS.encode()))
    assert {str(put(stores, "orders", path)) for path in (csv("copy", ORDERS), shuffled, packed)} == {"orders@1"}
    other = put(stores, "orders", csv("more", ORDERS + "100,50,open\n"))
    assert (other.version, other.digest == first.digest) == (2, False)
    assert put(stores, "orders", csv("orders", ORDERS)) == first
    assert find(stores.ledger, "orders") == other
    assert find(stores.ledger, "orders@1") == first


def test_an_unchanged_file_is_not_parsed_again(stores, csv, monkeypatch):
    path = csv("orders", ORDERS)
    first = put(stores, "orders", path)
    monkeypatch.setattr(module, "plain", None)
    assert put(stores, "orders", path) == first


def test_a_licence_is_added_to_what_is_stored(stores, csv):
    path = csv("orders", ORDERS)
    first = put(stores, "orders", path)
    assert put(stores, "orders", path, licence="MIT") == replace(first, licence="MIT")
    assert versions(stores.ledger, "orders") == [replace(first, licence="MIT")]


def test_null_texts_are_part_of_the_content(stores, csv):
    path = csv("orders", "id,note\n1,NA\n2,x\n")
    plain, nulled = put(stores, "orders", path), put(stores, "orders", path, nulls=["NA"])
    assert plain.digest != nulled.digest
    assert table(stores, nulled).sort("id").collect("pyarrow")["note"].to_list() == [None, "x"]


@pytest.fixture
def racers(stores, tmp_path):
    """One ledger and one store for all, a table engine each, as processes have."""
    engines = [open_tables(Settings(root=tmp_path / f"racer{i}", workers=1), "duckdb") for i in range(4)]
    yield [replace(stores, tables=tables) for tables in engines]
    for tables in engines:
        tables.close()


def race(racers, paths):
    with ThreadPoolExecutor(len(paths)) as pool:
        return sorted(v.version for v in pool.map(lambda r, p: put(r, "orders", p), racers, paths))


def test_racing_puts_of_equal_content_make_one_version(stores, racers, csv):
    header, *lines = ORDERS.splitlines()
    paths = [csv(f"turn{i}", "\n".join([header, *lines[i:], *lines[:i]]) + "\n") for i in range(4)]
    assert race(racers, paths) == [1] * 4
    (only,) = versions(stores.ledger, "orders")
    assert table(stores, only).collect("pyarrow").shape == (100, 3)


def test_racing_puts_of_different_content_get_a_number_each(racers, csv):
    paths = [csv(f"v{i}", ORDERS + f"{100 + i},1,open\n") for i in range(4)]
    assert race(racers, paths) == [1, 2, 3, 4]


def test_what_is_stored_with_a_version(stores, csv):
    version = put(stores, "orders", csv("orders", ORDERS))
    assert profile_of(stores.files, version).columns["id"].distinct == 100
    assert contract_of(stores.files, version).columns["state"].categories == ("closed", "open")
    stored = stores.files.get(version.key)
    stored.chmod(0o644)
    data = bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 1
    stored.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"data\.parquet"):
        table(stores, version)


def test_a_broken_contract_stores_nothing(stores, csv):
    put(stores, "orders", csv("orders", ORDERS))
    objects = stores.files.list("")
    with pytest.raises(DataRefused, match="'amount' is missing") as refused:
        put(stores, "orders", csv("narrow", "id,state\n1,open\n"))
    assert "--new-contract" in refused.value.fix
    assert stores.files.list("") == objects
    assert len(versions(stores.ledger, "orders")) == 1
    assert not list(stores.scratch.rglob("put-*"))
    fresh = put(stores, "orders", csv("narrow", "id,state\n1,open\n"), terms=Terms(fresh=True))
    assert list(contract_of(stores.files, fresh).columns) == ["id", "state"]
    assert put(stores, "orders", csv("next", "id,state\n2,open\n")).version == 3


def test_stated_expectations_hold_from_the_first_version_on(stores, csv):
    terms = Terms(Expectations(required=("state",)))
    with pytest.raises(DataRefused, match="required"):
        put(stores, "orders", csv("orders", "id,state\n1,\n2,open\n"), terms=terms)
    assert versions(stores.ledger) == []


def test_what_cannot_be_put(stores, csv, tmp_path):
    with pytest.raises(NotFound):
        put(stores, "orders", tmp_path / "absent.csv")
    with pytest.raises(NameRefused):
        put(stores, "../orders", csv("orders", ORDERS))


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("notes.xyz", "a word\n", "has no rows"),
        ("notes.csv", "id,amount\n", "has no rows"),
        ("notes.xyz", "a word\nand another one\n", "not recognised"),
        ("notes.md.gz", "# A title\nand a text\n", "not recognised"),
        ("notes", "a word\nand another one\n", "not recognised"),
    ],
)
def test_text_that_is_no_table_is_refused_and_not_stored(stores, tmp_path, *, name, text, why):
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    with pytest.raises(DataRefused, match=why) as refused:
        put(stores, "notes", path)
    assert refused.value.fix
    assert versions(stores.ledger) == []
    assert not stores.files.list("")


@pytest.mark.parametrize(("name", "text"), [("words.CSV", "word\na\n"), ("words.log", '{"word": "a"}\n')])
def test_a_table_of_one_column_is_known_by_its_ending_or_its_bytes(stores, tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert put(stores, "words", tmp_path / name).rows == 1


def test_a_file_that_changes_while_it_is_read_is_refused(stores, csv, monkeypatch):
    path = csv("orders", ORDERS)
    ingest = stores.tables.ingest

    def slow(source, target, **options):
        facts = ingest(source, target, **options)
        path.write_text(ORDERS + "1,1,open\n")
        os.utime(path, ns=(1, 1))
        return facts

    monkeypatch.setattr(stores.tables, "ingest", slow)
    with pytest.raises(Conflict, match="changed while it was read"):
        put(stores, "orders", path)


def test_names_nearby(stores, csv):
    put(stores, "orders", csv("orders", ORDERS))
    with pytest.raises(NotFound, match="did you mean 'orders'"):
        find(stores.ledger, "order")
    with pytest.raises(NotFound, match="no version '7'"):
        find(stores.ledger, "orders@7")


@pytest.mark.skipif("HEADRACE_TEST_DATA" not in os.environ, reason="HEADRACE_TEST_DATA is not set")
def test_real_wine(stores, tmp_path):
    source = Path(os.environ["HEADRACE_TEST_DATA"]) / "wine-quality" / "wine-quality.csv"
    version = put(stores, "wine", source, licence="CC BY 4.0")
    assert (version.rows, len(version.schema)) == (4898, 12)
    assert version.schema["fixed acidity"] == "Float64"
    seen = profile_of(stores.files, version)
    assert seen.columns["quality"].top[0] == (6, 2198)
    copy = tmp_path / "copy.csv"
    shutil.copyfile(source, copy)
    assert put(stores, "wine", copy) == version
