"""gRPC services for who has a token only, and until the server ends."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import grpc

from headrace.errors import Forbidden, Unavailable
from headrace.gateway.access import Access
from headrace.gateway.faults import said
from headrace.gateway.routes import ANYBODY, Needed
from headrace.gateway.rpc.calls import Offered, Rpc

_Refusal = tuple[Any, str, tuple[tuple[str, str], ...]]


class Guarded(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Asks every call for a token before its service sees it, and a stream at each of its messages.

    Args:
        services: What answers.
        access: Who may.
        health: The scope that the calls need which are otherwise for anybody.
    """

    def __init__(self, services: Sequence[Offered], access: Access, health: Needed = ANYBODY) -> None:
        self._access, self._health = access, health
        self._calls: Mapping[str, Rpc] = {name: rpc for service in services for name, rpc in service.calls.items()}

    def service(self, handler_call_details: Any) -> Any:
        """The handler of a call, one that refuses it, or None."""
        told = dict(handler_call_details.invocation_metadata or ()).get("authorization", "")
        header = told.encode() if isinstance(told, str) else told
        found = self._calls.get(handler_call_details.method)
        needed = None if found is None else self._health if found.needs is ANYBODY else found.needs
        refusal = self._refusal(header, needed)
        if refusal is not None:
            return _refusing(*refusal)
        if found is None or needed is ANYBODY or not found.handler.response_streaming:
            return None if found is None else found.handler
        return self._stream(found.handler, header, needed)

    def _refusal(self, header: bytes, needed: Needed | None) -> _Refusal | None:
        """Why a caller may not, as ``abort`` takes it."""
        try:
            denial = self._access.denial(header, needed)
        except Unavailable as error:
            return grpc.StatusCode.UNAVAILABLE, str(error), ()
        if denial is None:
            return None
        forbidden = isinstance(denial.error, Forbidden)
        code = grpc.StatusCode.PERMISSION_DENIED if forbidden else grpc.StatusCode.UNAUTHENTICATED
        return code, said(denial.error), (("www-authenticate", denial.challenge),)

    def _stream(self, handler: Any, header: bytes, needed: Needed | None) -> Any:
        """A stream that ends with its first message, either way, after its token did."""

        async def allowed(messages: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
            async for message in messages:
                refusal = self._refusal(header, needed)
                if refusal is not None:
                    await context.abort(*refusal)
                yield message

        async def behaviour(asked: Any, context: Any) -> AsyncIterator[Any]:
            replies = (
                handler.stream_stream(allowed(asked, context), context)
                if handler.request_streaming
                else handler.unary_stream(asked, context)
            )
            async for reply in allowed(replies, context):
                yield reply

        made = (
            grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
        )
        return made(behaviour, handler.request_deserializer, handler.response_serializer)


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


def _refusing(code: Any, why: str, trailing: tuple[tuple[str, str], ...] = ()) -> Any:
    async def refuse(_requests: Any, context: Any) -> Any:
        await context.abort(code, why, trailing)

    return grpc.stream_unary_rpc_method_handler(refuse)
