"""``postgresql://user@host/database?schema=shop``: which server and database, and this project's part of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from headrace.errors import SettingsError
from headrace.refs import checked_name
from headrace.settings import shown

_EXAMPLE = "postgresql://headrace@db.example/shop?schema=orders"
_SECRETS = {"password", "sslpassword"}
_SECRET_GOES = "in PGPASSWORD, or in the file that PGPASSFILE names (~/.pgpass unless it is set)"  # noqa: S105 - where
_LONGEST_NAME = 63
_DEFAULTS = {
    "connect_timeout": "5",
    "application_name": "headrace",
    # A host that is gone without a word is noticed by the system, not only when something is asked of it.
    "keepalives_idle": "30",
    "tcp_user_timeout": "10000",
}


@dataclass(frozen=True)
class Address:
    """A database, and this project's part of it.

    Attributes:
        parameters: Of the connection, as the client library names them; no secret is among them.
        schema: The schema of its tables.
    """

    parameters: Mapping[str, str]
    schema: str = "headrace"

    @classmethod
    def parse(cls, uri: str) -> "Address":
        """Read the setting ``ledger``.

        Raises:
            SettingsError: It holds a secret, a parameter that the client library does not know, or cannot be read.
            NameRefused: The schema is no name.
        """
        _, known, rest = uri.partition("://")
        if not known:
            raise _refused("postgresql://", "two slashes are due after its first word")
        place, _, query = rest.partition("?")
        asked = parse_qsl(query.replace("+", "%2B"), keep_blank_values=True)  # to the library a plus is no blank
        login, at, _ = place.rpartition("@")  # a password may hold a slash
        if (at and ":" in login) or _SECRETS & {name for name, _ in asked}:
            raise SettingsError(
                "a password does not belong in the address of a ledger", where=shown(uri).partition("?")[0],
                why="addresses are printed and kept in files", fix=f"put it {_SECRET_GOES}",
            )  # fmt: skip
        schema = checked_name(dict(asked).get("schema") or cls.schema, of="schema")
        if len(schema) > _LONGEST_NAME:
            raise _refused(uri, f"a schema's name has at most {_LONGEST_NAME} characters")
        others = urlencode([(name, value) for name, value in asked if name != "schema"], quote_via=quote)
        try:
            given = conninfo_to_dict(f"postgresql://{place}?{others}")
        except psycopg.Error as error:
            raise _refused(uri, str(error).strip()) from None
        return cls({**_DEFAULTS, **{name: str(value) for name, value in given.items()}}, schema)

    @property
    def dsn(self) -> str:
        """What the client library connects with."""
        return make_conninfo("", **self.parameters)

    @property
    def where(self) -> str:
        """For people: the server, the database and the schema, and not who logs in."""
        host = self.parameters.get("host") or self.parameters.get("hostaddr") or "the local socket"
        port = self.parameters.get("port")
        database = self.parameters.get("dbname", "")
        return f"PostgreSQL at {host}{f':{port}' if port else ''}/{database}, schema {self.schema}"


def _refused(uri: str, why: str) -> SettingsError:
    fix = f'for example ledger = "{_EXAMPLE}"'
    return SettingsError(f"ledger {shown(uri)!r} names no PostgreSQL database", why=why, fix=fix)
