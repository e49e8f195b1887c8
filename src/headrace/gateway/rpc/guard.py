"""gRPC services for who has the token only."""

from collections.abc import Sequence
from typing import Any

import grpc

from headrace.errors import Unauthorized
from headrace.gateway.control import Token


class Guarded(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Asks every call for the token before its service sees it.

    Args:
        services: What answers.
        token: Who may call.
    """

    def __init__(self, services: Sequence[Any], token: Token) -> None:
        self._services, self._token = services, token

    def service(self, handler_call_details: Any) -> Any:
        """The handler of a call, one that refuses it, or None."""
        said = dict(handler_call_details.invocation_metadata or ()).get("authorization", "")
        try:
            self._token.check(said.encode() if isinstance(said, str) else said)
        except Unauthorized as error:
            return _refusing(str(error))
        found = (service.service(handler_call_details) for service in self._services)
        return next((handler for handler in found if handler is not None), None)


def _refusing(why: str) -> Any:
    async def refuse(_requests: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, why)

    return grpc.stream_unary_rpc_method_handler(refuse)
