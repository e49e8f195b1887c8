"""``headrace.conformance.ledger`` on SQLite."""

import sqlite3

import pytest

from headrace.conformance.ledger import LedgerSuite
from headrace.engines.sqlite.ledger import SqliteLedger, open_ledger
from headrace.errors import Unavailable
from headrace.settings import Settings
from headrace.storage.ledger import Fact


class TestSqliteLedger(LedgerSuite):
    @pytest.fixture
    def reopen(self, tmp_path):
        return lambda: open_ledger(Settings(root=tmp_path), "sqlite")

    @pytest.fixture
    def program(self, tmp_path):
        return (
            "from pathlib import Path\nfrom headrace.engines.sqlite.ledger import open_ledger\n"
            "from headrace.settings import Settings\n"
            f"ledger = open_ledger(Settings(root=Path({str(tmp_path)!r})), 'sqlite')"
        )


def test_a_uri_names_the_file(tmp_path):
    ledger = open_ledger(Settings(root=tmp_path), "sqlite:facts/team.db")
    ledger.append([Fact("alert", "wine")])
    ledger.close()
    assert (tmp_path / "facts" / "team.db").is_file()


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path):
    (tmp_path / "ledger.db").write_text("not a database, whatever its name says")
    with pytest.raises(Unavailable, match="ledger cannot be opened") as none:
        SqliteLedger(tmp_path / "ledger.db")
    assert none.value.fix.startswith(f"move {tmp_path}/ledger.db away")


def test_a_ledger_that_the_system_does_not_open_stays_where_it_is(tmp_path):
    (tmp_path / "ledger.db").mkdir()
    with pytest.raises(Unavailable, match="unable to open database file") as shut:
        SqliteLedger(tmp_path / "ledger.db")
    assert shut.value.fix == f"check who may write {tmp_path}"


@pytest.mark.parametrize(("kind", "level"), [("alias.moved", 2), ("model.version", 2), ("step.finished", 1)])
def test_what_cannot_be_computed_again_waits_for_the_disk(tmp_path, kind, level):
    ledger = SqliteLedger(tmp_path / "ledger.db")
    ledger.append([Fact("run.started", "r"), Fact(kind, "x")])
    assert ledger._connection.execute("PRAGMA synchronous").fetchone() == (level,)
    ledger.close()


def test_queries_by_subject_use_the_index(tmp_path):
    ledger = SqliteLedger(tmp_path / "ledger.db")
    plan = ledger._connection.execute(
        "EXPLAIN QUERY PLAN SELECT * FROM facts WHERE seq > 0 AND kind = 'a' AND subject = 'b' ORDER BY seq"
    ).fetchall()
    ledger.close()
    assert "facts_by_subject" in str(plan)
    assert "TEMP B-TREE" not in str(plan)
    assert sqlite3.sqlite_version_info >= (3, 35)
