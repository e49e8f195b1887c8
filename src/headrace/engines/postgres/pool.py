"""Connections of one process: as many as threads use at once, kept for the next, made anew when the server was away."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import psycopg

from headrace.engines.postgres.address import Address
from headrace.engines.postgres.connection import Bounds, Connection, connect
from headrace.engines.postgres.faults import passes
from headrace.engines.postgres.schema import Tables

V = TypeVar("V")
_KEPT = 4
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.02, 0.5


class Pool:
    """Connections to one ledger; may be shared between threads.

    Args:
        address: Where it is.
        tables: Its tables, which the first connection finds or makes.
        bounds: How long to wait.
    """

    def __init__(self, address: Address, tables: Tables, bounds: Bounds) -> None:
        self._address, self._tables, self._bounds = address, tables, bounds
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._reached = False
        self._closed = threading.Event()

    def do(self, ask: Callable[[Connection], V]) -> V:
        """What ``ask`` returns, asked again on a new connection while the server is away.

        A server that this process has not reached yet is tried once: its address may be wrong.

        Args:
            ask: Is harmless when it is done twice: nobody knows whether the server did what it gave no answer to.

        Raises:
            psycopg.Error: The last one.
        """
        until, pause_s = time.monotonic() + self._bounds.patience_s, _FIRST_WAIT_S
        while True:
            try:
                return self._once(ask)
            except psycopg.Error as error:
                if not (self._reached and passes(error)) or time.monotonic() + pause_s > until:
                    raise
            if self._closed.wait(pause_s):
                until = 0.0
            pause_s = min(2 * pause_s, _LONGEST_WAIT_S)

    def close(self) -> None:
        """Wait for no server any more, and close what is idle."""
        self._closed.set()
        self._drop_idle()

    def _once(self, ask: Callable[[Connection], V]) -> V:
        connection = self._taken()
        try:
            found = ask(connection)
        except psycopg.OperationalError:
            connection.close()
            self._drop_idle()  # the server was away for these too
            raise
        except BaseException:
            connection.close()
            raise
        self._give(connection)
        return found

    def _taken(self) -> Connection:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        made = connect(self._address, self._bounds)
        try:
            if not self._reached:
                self._tables.ready(made)
        except BaseException:
            made.close()
            raise
        self._reached = True
        return made

    def _give(self, connection: Connection) -> None:
        with self._lock:
            if len(self._idle) < _KEPT and not self._closed.is_set():
                self._idle.append(connection)
                return
        connection.close()

    def _drop_idle(self) -> None:
        with self._lock:
            dropped, self._idle = self._idle, []
        for connection in dropped:
            connection.close()
