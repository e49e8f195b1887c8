"""One connection, on which nothing waits for ever: neither for a server that is gone nor for one that hangs."""

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg

from headrace.engines.postgres.address import Address

V = TypeVar("V")


@dataclass(frozen=True)
class Bounds:
    """How long is waited, in seconds.

    Attributes:
        silent_s: For a server that says nothing, before it is looked for by another connection.
        busy_s: For a server that is found then: it waits for other writers, or for its disk.
        patience_s: For a server that was reached before and is away now.
    """

    silent_s: float = 5.0
    busy_s: float = 30.0
    patience_s: float = 10.0


class Silent(psycopg.OperationalError):
    """A server that is connected does not answer."""


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection whose server must say something now and then, or else answer another one.

    The server's own timeouts end no wait for a server that hangs, nor do keepalives: its system answers those.

    Attributes:
        bounds: How long to wait.
        lives: Whether the server takes a new connection.
    """

    bounds = Bounds()
    lives: Callable[[], bool] = staticmethod(lambda: False)

    def wait(self, gen: Generator[Any, Any, V], *arguments: Any, **how: Any) -> V:
        """Wait for what the server says; see ``psycopg.Connection.wait``.

        Raises:
            Silent: It says nothing.
        """
        return super().wait(self._bounded(gen), *arguments, **how)

    def _bounded(self, gen: Generator[Any, Any, V]) -> Generator[Any, Any, V]:
        """What ``gen`` does, unless it is told over and over that nothing came."""
        try:
            wanted, heard = next(gen), time.monotonic()
            looked = heard
            while True:
                came = yield wanted
                now = time.monotonic()
                if came:
                    heard = looked = now
                elif now - looked > self.bounds.silent_s:
                    if now - heard > self.bounds.busy_s or not self.lives():
                        raise Silent(f"the server has said nothing for {now - heard:.0f} s")
                    looked = time.monotonic()
                wanted = gen.send(came)
        except StopIteration as ended:
            result: V = ended.value
            return result


def connect(address: Address, bounds: Bounds) -> Connection:
    """A new connection, every statement a transaction of its own, unless one is begun.

    Who waits for another writer has to see what that one wrote, whatever isolation the database has by default.

    Raises:
        psycopg.Error: The server is not there, or does not let us.
    """
    made: Connection = Connection.connect(address.dsn, autocommit=True, prepare_threshold=None)
    made.bounds, made.lives = bounds, lambda: _lives(address)
    busy_ms = f"{bounds.busy_s * 1000:.0f}"
    try:
        made.execute(
            "SELECT set_config('client_encoding', 'UTF8', false), set_config('lock_timeout', %s, false),"
            " set_config('statement_timeout', %s, false),"
            " set_config('default_transaction_isolation', 'read committed', false),"
            " set_config('idle_in_transaction_session_timeout', %s, false)",
            [busy_ms, busy_ms, busy_ms],
        )
    except BaseException:
        made.close()
        raise
    return made


def _lives(address: Address) -> bool:
    try:
        psycopg.connect(address.dsn).close()
    except psycopg.Error:
        return False
    return True
