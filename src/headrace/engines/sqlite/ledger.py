"""Ledger on SQLite: one table of facts, one file, any number of processes."""

import json
import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from headrace.errors import Conflict, Unavailable
from headrace.settings import Settings
from headrace.storage.durable import keep_names, make_folders, sync
from headrace.storage.ledger import Fact, encoded

_SCHEMA = """
CREATE TABLE facts(
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    mark TEXT,
    at REAL NOT NULL
);
CREATE INDEX facts_by_subject ON facts(kind, subject, seq);
CREATE UNIQUE INDEX facts_by_mark ON facts(kind, mark) WHERE mark IS NOT NULL;
"""
# Computed again when lost, so a commit waits for the system but not for the disk. Every other fact is fsynced.
_RECOMPUTABLE = ("run.", "step.", "trial.", "gate.")
_BUSY_S = 30.0


class SqliteLedger:
    """Facts in a WAL database; see ``storage.ledger.Ledger``.

    Every commit survives the death of the process. Commits of facts that cannot be computed again (versions, aliases,
    deployments, alerts) also survive a power cut; those of runs, steps, trials and gates may lose the last ones then.

    Args:
        path: The database file; its folder is made when missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._level = ""
        try:
            if not path.exists():
                _make(path)
            self._connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            self._connection.execute("SELECT 1 FROM facts LIMIT 1")
        except sqlite3.DatabaseError as error:
            fix = _opening(error.sqlite_errorcode, path)
            raise Unavailable("the ledger cannot be opened", where=str(path), why=str(error), fix=fix) from error

    def append(self, facts: Sequence[Fact]) -> list[Fact]:
        """Write all of ``facts`` in one commit, or none; see ``Ledger.append``."""
        rows = [(f.kind, f.subject, encoded(f), f.unique, f.at or time.time()) for f in facts]
        if not rows:
            return []
        with self._lock:
            self._synchronous("NORMAL" if all(f.kind.startswith(_RECOMPUTABLE) for f in facts) else "FULL")
            seqs = self._commit(rows)
        return [
            Fact(f.kind, f.subject, f.body, f.unique, row[4], seq)
            for f, row, seq in zip(facts, rows, seqs, strict=True)
        ]

    def query(self, kind: str, subject: str | None = None, *, after: int = 0, newest: int | None = None) -> list[Fact]:
        """Facts of ``kind`` in order; see ``Ledger.query``."""
        where, values = ["seq > ?"], [after]
        clause, bounds = _kind_clause(kind)
        where.append(clause)
        arguments: list[Any] = [*values, *bounds]
        if subject is not None:
            where.append("subject = ?")
            arguments.append(subject)
        order = "ASC" if newest is None else "DESC LIMIT ?"
        if newest is not None:
            arguments.append(newest)
        # Only fixed texts are joined here; every value is bound.
        text = f"SELECT kind, subject, body, mark, at, seq FROM facts WHERE {' AND '.join(where)} ORDER BY seq {order}"  # noqa: S608
        with self._lock:
            rows = self._connection.execute(text, arguments).fetchall()
        if newest is not None:
            rows.reverse()
        return [Fact(k, s, json.loads(body), mark, at, seq) for k, s, body, mark, at, seq in rows]

    def close(self) -> None:
        """Release the connection."""
        with self._lock:
            self._connection.close()

    def _synchronous(self, level: str) -> None:
        if level != self._level:
            self._connection.execute(f"PRAGMA synchronous = {level}")
            self._level = level

    def _commit(self, rows: Sequence[tuple[Any, ...]]) -> list[int]:
        run = self._connection.execute
        try:
            run("BEGIN IMMEDIATE")
            seqs = [
                run("INSERT INTO facts(kind, subject, body, mark, at) VALUES (?, ?, ?, ?, ?)", row).lastrowid or 0
                for row in rows
            ]
            run("COMMIT")
        except sqlite3.IntegrityError as error:
            run("ROLLBACK")
            marks = ", ".join(str(row[3]) for row in rows if row[3])
            raise Conflict("somebody else recorded this first", where=marks, why=str(error)) from error
        except sqlite3.OperationalError as error:
            if self._connection.in_transaction:
                run("ROLLBACK")
            raise Unavailable("the ledger did not take the facts", where=str(self._path), why=str(error)) from error
        return seqs


def open_ledger(settings: Settings, uri: str) -> SqliteLedger:
    """Factory ``ledger.sqlite``: ``<home>/ledger.db``, or the file of ``sqlite:<path>``."""
    _, _, path = uri.partition(":")
    return SqliteLedger(settings.root / path if path else settings.home_path / "ledger.db")


def _opening(errorcode: int, path: Path) -> str:
    """What may be done about a file that does not open: it holds all that was recorded, so it is the last to go."""
    if errorcode & 0xFF in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}:
        return f"check who may write {path.parent}"
    if errorcode & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return "try again when who holds it is done"
    return f"move {path} away, and have a backup restored where there is one: headrace restore"


def _make(path: Path) -> None:
    """An empty ledger, whole before it has its name; when two processes make it at once, the first one's stays."""
    make_folders(path.parent)
    keep_names(path.parent)
    half = path.with_name(f"{path.name}.half-{os.urandom(4).hex()}")
    connection = sqlite3.connect(half, isolation_level=None)
    try:
        connection.executescript(f"PRAGMA synchronous = OFF; PRAGMA journal_mode = WAL; BEGIN; {_SCHEMA} COMMIT;")
    finally:
        connection.close()
    try:
        sync(half)
        with suppress(FileExistsError):
            os.link(half, path)
    finally:
        half.unlink()
    sync(path.parent)


def _kind_clause(kind: str) -> tuple[str, list[str]]:
    """An index range for a prefix: LIKE would not use the index."""
    if not kind.endswith("*"):
        return "kind = ?", [kind]
    prefix = kind[:-1]
    return "kind >= ? AND kind < ?", [prefix, prefix + "\U0010ffff"]
