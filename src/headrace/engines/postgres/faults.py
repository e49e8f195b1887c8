"""What PostgreSQL and its client library raise, in our words."""

import psycopg
from psycopg import errors

from headrace.errors import HeadraceError, SettingsError, Unauthorized, Unavailable, UsageError

_GAVE_UP = ("25P03", "25P04")
"""That the server waits for a transaction no longer, and has closed its connection."""
_ANOTHER_TIME = ("08", "57P", "53", "40", "25006", *_GAVE_UP)
"""SQLSTATEs, or their beginnings, of what another try, on another connection, may find mended."""
_DENIED = ("28", "42501")
_GRANT = "docs/reference/engines.md says what to grant"
_START = "start the server, or correct the setting ledger"


def passes(error: psycopg.Error) -> bool:
    """Whether the connection, or the server, may be better in a moment."""
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and not _denied(error)
    return error.sqlstate.startswith(_ANOTHER_TIME)


def fault(error: psycopg.Error, what: str, where: str) -> HeadraceError:
    """What ``error`` means to the caller."""
    why = _first_line(error)
    if _denied(error):
        lacks = isinstance(error, errors.InsufficientPrivilege)
        fix = (
            "docs/reference/engines.md says what to grant" if lacks else "give the password in PGPASSWORD or PGPASSFILE"
        )
        return Unauthorized(what, where=where, why=why, fix=fix)
    if isinstance(error, errors.LockNotAvailable | errors.QueryCanceled) or error.sqlstate in _GAVE_UP:
        busy = "" if error.sqlstate in _GAVE_UP else "others keep it busy: "
        return Unavailable(what, where=where, why=f"{busy}{why}", fix="try again")
    if isinstance(error, errors.ReadOnlySqlTransaction):
        fix = "name all servers and add target_session_attrs=read-write to the address"
        return Unavailable(what, where=where, why=f"the server is a standby: {why}", fix=fix)
    if isinstance(error, psycopg.DataError | errors.ProgramLimitExceeded):
        return UsageError(what, where=where, why=why, fix="shorten kind, subject or mark, and keep zero bytes out")
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return Unavailable(what, where=where, why=why, fix=_START)
    return SettingsError(what, where=where, why=why, fix="docs/reference/engines.md")


def _denied(error: psycopg.Error) -> bool:
    if error.sqlstate is not None:
        return error.sqlstate.startswith(_DENIED)
    # Of a connection that was not made the library keeps the server's words alone.
    said = str(error)
    lacking = error.pgconn is not None and error.pgconn.needs_password
    return lacking or "authentication failed" in said or "pg_hba.conf" in said


def _first_line(error: psycopg.Error) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
