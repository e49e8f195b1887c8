"""gRPC services for who has the token only, and until the server ends."""

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
            return _refusing(grpc.StatusCode.UNAUTHENTICATED, str(error))
        return _found(self._services, handler_call_details)


class Door(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Lets calls in until it is shut; then they are told to go elsewhere, which is safe to do: nothing was scored.

    gRPC's own shutdown tells calls that it has not handed out yet that they are cancelled, as if by their caller.

    Args:
        services: What answers.

    Attributes:
        shut: May be set at any time.
    """

    def __init__(self, services: Sequence[Any]) -> None:
        self._services, self.shut = services, False

    def service(self, handler_call_details: Any) -> Any:
        """The handler of a call, one that refuses it, or None."""
        if self.shut:
            return _refusing(grpc.StatusCode.UNAVAILABLE, "the server is ending")
        return _found(self._services, handler_call_details)


def _found(services: Sequence[Any], details: Any) -> Any:
    found = (service.service(details) for service in services)
    return next((handler for handler in found if handler is not None), None)


def _refusing(code: Any, why: str) -> Any:
    async def refuse(_requests: Any, context: Any) -> Any:
        await context.abort(code, why)

    return grpc.stream_unary_rpc_method_handler(refuse)
