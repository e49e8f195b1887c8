"""Connections to a port that asks for tokens: who has none cannot have the server hold a large body."""

from headrace.errors import HeadraceError
from headrace.gateway.access import Guard
from headrace.gateway.faults import said, status_of
from headrace.gateway.http import Connection, Fault, Server

UNASKED_BYTES = 64 * 1024
"""A body that is larger, or does not say how large it is, is read only once its sender may."""


class Doorway(Connection):
    """Looks at the token when the headers are there, before a large body is; a small one is read, and refused after.

    Args:
        guard: Knows who may.
        server: Its server.
    """

    def __init__(self, guard: Guard, server: Server) -> None:
        super().__init__(server)
        self._guard = guard

    def on_headers_complete(self) -> None:
        """Refuse who may not; see ``Connection``."""
        if self._is_large():
            try:
                denial = self._guard.denial(self._parser.get_method(), self._target, self._headers)
            except HeadraceError as error:
                raise Fault(status_of(error), said(error)) from None
            if denial is not None:
                raise Fault(status_of(denial.error), said(denial.error), denial.header)
        super().on_headers_complete()

    def _is_large(self) -> bool:
        headers = self._headers
        declared = headers.get(b"content-length", b"0")
        return b"transfer-encoding" in headers or not declared.isdigit() or int(declared[:18]) > UNASKED_BYTES
