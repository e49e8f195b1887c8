"""Ledger on PostgreSQL: one table of facts, any number of hosts.

The row of ``ledger`` holds the newest number. Who appends raises it in the statement that writes, and so holds the row
until the commit is seen by all: numbers are those of the order of commits, without gaps, and a reader that has seen one
has seen all below it.
"""

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import psycopg
from psycopg import errors, sql

from headrace.engines.postgres.address import Address
from headrace.engines.postgres.connection import Bounds, Connection
from headrace.engines.postgres.faults import fault, passes
from headrace.engines.postgres.pool import Pool
from headrace.engines.postgres.schema import Tables
from headrace.errors import Conflict, HeadraceError
from headrace.settings import Settings
from headrace.storage.ledger import Fact, encoded

_AT_ONCE = 500
"""Facts in a statement: what each takes is bounded, so that a server that is silent is one that hangs."""
_PAGE = 5000
_BOUNDS = Bounds()
# The server says when: clocks of hosts differ, and what happened later would seem to have happened before.
# A server that commits before the disk has it is asked not to; a stricter one stays as it is.
_APPEND = """
WITH head AS (
    UPDATE {ledger} SET newest = newest + %(count)s
    WHERE set_config('synchronous_commit', replace(current_setting('synchronous_commit'), 'off', 'on'), true) <> ''
    RETURNING newest - %(count)s AS before, extract(epoch FROM clock_timestamp())::float8 AS moment
)
INSERT INTO {facts}(seq, kind, subject, body, mark, at, token)
SELECT before + place, kind, subject, body, mark, coalesce(at, moment), CASE place WHEN 1 THEN %(token)s::uuid END
FROM head, unnest(%(kinds)s::text[], %(subjects)s::text[], %(bodies)s::text[], %(marks)s::text[], %(ats)s::float8[])
    WITH ORDINALITY AS given(kind, subject, body, mark, at, place)
ORDER BY place RETURNING seq, at
"""

_UNREAD = "the ledger cannot be read"
_UNTAKEN = "the ledger did not take the facts"
_UNKNOWN = "nobody knows whether the ledger took the facts"

V = TypeVar("V")
Row = tuple[str, str, str, str | None, float | None]
Place = tuple[int, float]
"""Number of a fact, and when it was appended."""


class PostgresLedger:
    """Facts in a PostgreSQL database; see ``storage.ledger.Ledger``.

    Nothing is connected before the first fact is asked for, or appended.

    Args:
        address: Which database, and which schema of it.
        bounds: How long to wait for it.
    """

    def __init__(self, address: Address, bounds: Bounds = _BOUNDS) -> None:
        self._where = address.where
        self._tables = Tables(address.schema, address.where)
        self._pool = Pool(address, self._tables, bounds)

    def append(self, facts: Sequence[Fact]) -> list[Fact]:
        """Write all of ``facts`` in one commit, or none; see ``Ledger.append``.

        Raises:
            Conflict: A ``unique`` mark is taken.
            UsageError: A body exceeds the limit, or holds what PostgreSQL cannot keep.
            Unavailable: The server is away. What it was asked before it went it may have done all the same.
        """
        rows = [(f.kind, f.subject, encoded(f), f.unique, f.at or None) for f in facts]
        if not rows:
            return []
        places = self._written(rows)
        return [Fact(f.kind, f.subject, f.body, f.unique, at, seq) for f, (seq, at) in zip(facts, places, strict=True)]

    def query(self, kind: str, subject: str | None = None, *, after: int = 0, newest: int | None = None) -> list[Fact]:
        """Facts of ``kind`` in order; see ``Ledger.query``.

        Raises:
            Unavailable: The server is away.
        """
        if newest is not None:
            return self._page(kind, subject, after, newest, "DESC")[::-1]
        found: list[Fact] = []
        while True:
            page = self._page(kind, subject, after, _PAGE, "ASC")
            found += page
            if len(page) < _PAGE:
                return found
            after = page[-1].seq

    def close(self) -> None:
        """Release the connections."""
        self._pool.close()

    def _page(self, kind: str, subject: str | None, after: int, most: int, order: str) -> list[Fact]:
        where, values = _conditions(kind, subject)
        text = f"SELECT kind, subject, body, mark, at, seq FROM {{facts}} WHERE seq > %s AND {where}"  # noqa: S608 - fixed
        statement = self._tables.named(f"{text} ORDER BY seq {order} LIMIT %s")
        rows = self._done(
            lambda on: on.execute(statement, [after, *values, most]).fetchall(),
            lambda error: fault(error, _UNREAD, self._where),
        )
        return [Fact(k, s, json.loads(body), mark, at, seq) for k, s, body, mark, at, seq in rows]

    def _written(self, rows: Sequence[Row]) -> list[Place]:
        """Write them.

        An append whose answer is lost is sent again with its token, which the database takes once.
        """
        token, unsure = uuid.uuid4(), False

        def write(connection: Connection) -> list[Place]:
            nonlocal unsure
            try:
                return self._write(connection, rows, token)
            except errors.UniqueViolation:
                known = self._known(connection, token, len(rows)) if unsure else []
                if not known:
                    raise
                return known
            except psycopg.Error as error:
                unsure = unsure or passes(error)
                raise

        def told(error: psycopg.Error) -> HeadraceError:
            if isinstance(error, errors.UniqueViolation):
                marks = ", ".join(row[3] for row in rows if row[3])
                return Conflict("somebody else recorded this first", where=marks, why=error.diag.message_primary or "")
            return fault(error, _UNKNOWN if unsure else _UNTAKEN, self._where)

        return self._done(write, told)

    def _done(self, ask: Callable[[Connection], V], told: Callable[[psycopg.Error], HeadraceError]) -> V:
        try:
            return self._pool.do(ask)
        except psycopg.Error as error:
            raised = told(error)
        raise raised  # without the library's error as its context: that one holds the password

    def _write(self, connection: Connection, rows: Sequence[Row], token: uuid.UUID) -> list[Place]:
        statement = self._tables.named(_APPEND)
        if len(rows) <= _AT_ONCE:
            return _places(connection, statement, rows, token)
        with connection.transaction():
            return [
                place
                for at in range(0, len(rows), _AT_ONCE)
                for place in _places(connection, statement, rows[at : at + _AT_ONCE], None if at else token)
            ]

    def _known(self, connection: Connection, token: uuid.UUID, count: int) -> list[Place]:
        first = "(SELECT seq FROM {facts} WHERE token = %s)"
        text = f"SELECT seq, at FROM {{facts}} WHERE seq >= {first} ORDER BY seq LIMIT %s"  # noqa: S608 - fixed
        return connection.execute(self._tables.named(text), [token, count]).fetchall()


def open_ledger(settings: Settings, uri: str) -> PostgresLedger:  # noqa: ARG001 - what every factory takes
    """Factories ``ledger.postgresql`` and ``ledger.postgres``: the database of ``postgresql://…``."""
    return PostgresLedger(Address.parse(uri))


def _places(
    connection: Connection, statement: sql.Composed, rows: Sequence[Row], token: uuid.UUID | None
) -> list[Place]:
    kinds, subjects, bodies, marks, ats = _columns(rows)
    given: dict[str, Any] = {"count": len(rows), "token": token, "kinds": kinds, "subjects": subjects}
    given |= {"bodies": bodies, "marks": marks, "ats": ats}
    places: list[Place] = connection.execute(statement, given).fetchall()
    if not places:
        raise psycopg.ProgrammingError("the row of the table ledger is missing")
    return sorted(places)


def _columns(rows: Sequence[Row]) -> Iterator[list[Any]]:
    return map(list, zip(*rows, strict=True))


def _conditions(kind: str, subject: str | None) -> tuple[str, list[str]]:
    """A range of the index for a prefix: LIKE would not use it."""
    if kind.endswith("*"):
        text, values = "kind >= %s AND kind < %s", [kind[:-1], kind[:-1] + "\U0010ffff"]
    else:
        text, values = "kind = %s", [kind]
    return (text, values) if subject is None else (f"{text} AND subject = %s", [*values, subject])
