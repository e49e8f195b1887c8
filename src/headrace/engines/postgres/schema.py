"""The tables of a ledger: made when missing, and of the version that this release knows."""

from psycopg import errors, sql

from headrace.engines.postgres.connection import Connection
from headrace.errors import SettingsError

VERSION = 1
_MAKING = 0x6865616472616365
"""Held by who makes tables, so that of two who begin at once the second finds them made."""
# Kinds and subjects are compared by code point, as every engine does, whatever the database's own collation is.
_TABLES = (
    """CREATE TABLE {ledger}(
        one boolean PRIMARY KEY DEFAULT true CHECK (one),
        version integer NOT NULL,
        newest bigint NOT NULL
    )""",
    """CREATE TABLE {facts}(
        seq bigint PRIMARY KEY,
        kind text COLLATE "C" NOT NULL,
        subject text COLLATE "C" NOT NULL,
        body text NOT NULL,
        mark text COLLATE "C",
        at double precision NOT NULL,
        token uuid
    )""",
    "CREATE INDEX facts_by_kind ON {facts}(kind, seq)",
    "CREATE INDEX facts_by_subject ON {facts}(kind, subject, seq)",
    "CREATE UNIQUE INDEX facts_by_mark ON {facts}(kind, mark) WHERE mark IS NOT NULL",
    "CREATE UNIQUE INDEX facts_by_token ON {facts}(token) WHERE token IS NOT NULL",
)


class Tables:
    """The names of a ledger's tables, ready to be put into statements.

    Args:
        schema: Where they are.
        where: The same for people, in errors.
    """

    def __init__(self, schema: str, where: str) -> None:
        self._schema, self._where = schema, where
        self._names = {name: sql.Identifier(schema, name) for name in ("ledger", "facts")}

    def named(self, text: str) -> sql.Composed:
        """A statement, with ``{ledger}`` and ``{facts}`` replaced."""
        return sql.SQL(text).format(**self._names)

    def ready(self, connection: Connection) -> None:
        """Have the tables there.

        Raises:
            SettingsError: They are of another version, or the database does not keep all characters.
            psycopg.Error: They cannot be made.
        """
        try:
            found = self._version(connection)
        except errors.UndefinedTable:
            self._make(connection)
            found = self._version(connection)
        if found != VERSION:
            raise SettingsError(
                f"the ledger is of version {found}", where=self._where,
                why=f"this release of headrace knows version {VERSION}", fix="pip install --upgrade headrace",
            )  # fmt: skip

    def _version(self, connection: Connection) -> int | None:
        row = connection.execute(self.named("SELECT version FROM {ledger}")).fetchone()
        return None if row is None else int(row[0])

    def _make(self, connection: Connection) -> None:
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise SettingsError(
                "the database does not keep all characters", where=self._where, why=f"its encoding is {encoding}",
                fix="CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0",
            )  # fmt: skip
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [_MAKING])
            found = connection.execute("SELECT to_regnamespace(quote_ident(%s))", [self._schema]).fetchone()
            if found == (None,):  # whoever made the schema need not let us make others
                connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(self._schema)))
            if self._made(connection):
                return
            for statement in _TABLES:
                connection.execute(self.named(statement))
            connection.execute(self.named("INSERT INTO {ledger}(version, newest) VALUES (%s, 0)"), [VERSION])

    def _made(self, connection: Connection) -> bool:
        try:
            with connection.transaction():
                return self._version(connection) is not None
        except errors.UndefinedTable:
            return False
