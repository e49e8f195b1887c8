"""What the services share: reading messages, scoring, and turning faults into codes."""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

import grpc
from google.protobuf.message import DecodeError

from headrace.errors import HeadraceError, NotFound, Overloaded, Unavailable, UnknownSignature, UsageError
from headrace.gateway.faults import said
from headrace.gateway.routes import Needed
from headrace.serving.arrival import Raw
from headrace.serving.dataplane import DataPlane
from headrace.serving.rendezvous import Answer, Live
from headrace.serving.report import report
from headrace.serving.request import Input

Call = Callable[[Any], Awaitable[Any]]
"""Answers a message with a message, or raises ``HeadraceError``."""

_CODES: tuple[tuple[type[HeadraceError], Any], ...] = (
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (Overloaded, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (Unavailable, grpc.StatusCode.UNAVAILABLE),
    (UnknownSignature, grpc.StatusCode.FAILED_PRECONDITION),
    (UsageError, grpc.StatusCode.INVALID_ARGUMENT),
)


class _Sent(NamedTuple):
    """A call as it came; an ``Arrival``."""

    context: Any
    kind: Any
    message: bytes

    def header(self, name: str) -> str:
        """A metadata key."""
        found = (value for key, value in self.context.invocation_metadata() or () if key == name)
        return str(next(found, ""))

    @property
    def raw(self) -> Raw:
        """Kind of message and its bytes."""
        return Raw(self.kind.DESCRIPTOR.full_name, "application/grpc", self.message)


class Rpc(NamedTuple):
    """A call that is offered.

    Attributes:
        handler: Answers it.
        needs: The scope that its caller needs, where callers need tokens.
    """

    handler: Any
    needs: Needed


class Offered(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Calls by their full names; what says no scope cannot be offered.

    Attributes:
        calls: Set by who offers them.
    """

    calls: Mapping[str, Rpc]

    def service(self, handler_call_details: Any) -> Any:
        """The handler of a call, or None."""
        found = self.calls.get(handler_call_details.method)
        return None if found is None else found.handler


_sent: ContextVar[_Sent] = ContextVar("sent")


async def score(plane: DataPlane, live: Live, given: Input) -> Answer:
    """The answer to an input; a caller that goes before it calls the request off.

    Raises:
        Unavailable: No model gave one now, and the endpoint has no default.
        RunFailed: The models failed on it, and the endpoint has no default.
        SignatureError: There are no features for a row.
        Overloaded: Too many rows wait already.
    """
    done: asyncio.Future[Answer] = live.loop.create_future()

    def reply(answer: Answer) -> None:
        if not done.done():  # else the caller has gone
            done.set_result(answer)

    request = plane.predict(live, given, reply, _sent.get())
    try:
        answer = await done
    except asyncio.CancelledError:
        request.cancel()
        raise
    if answer.fault is not None:
        raise answer.fault
    if not answer.logged:
        _sent.get().context.set_trailing_metadata((("x-headrace-logged", "false"),))
    return answer


def answering(context: Any, kind: Any, message: bytes) -> None:
    """Say which message this task answers."""
    _sent.set(_Sent(context, kind, message))


def at_once(read: Callable[[Any], Any]) -> Call:
    """A call that waits for nothing."""

    async def call(request: Any) -> Any:
        return read(request)

    return call


def unary(kind: Any, call: Call) -> Any:
    """A handler that reads its message itself: gRPC would write a trace to the log for each that is malformed."""

    async def behaviour(message: bytes, context: Any) -> Any:
        answering(context, kind, message)
        try:
            return (await call(parsed(kind, message))).SerializeToString()
        except HeadraceError as error:
            await context.abort(_code(error), said(error), _pushback(error))
        except Exception:  # noqa: BLE001 - a fault of ours: the caller learns that, not our stack
            report(traceback.format_exc())
            await context.abort(grpc.StatusCode.INTERNAL, "internal error")

    return grpc.unary_unary_rpc_method_handler(behaviour)


def parsed(kind: Any, message: bytes) -> Any:
    """The message; raise ``UsageError`` when the bytes are none."""
    try:
        return kind.FromString(message)
    except DecodeError as error:
        raise UsageError("the message cannot be read", why=str(error)) from None


def _pushback(error: HeadraceError) -> tuple[tuple[str, str], ...]:
    """What clients with a retry policy go by (gRPC's retry design, A6)."""
    return (("grpc-retry-pushback-ms", str(error.retry_after_s * 1000)),) if isinstance(error, Overloaded) else ()


def _code(error: HeadraceError) -> Any:
    return next((code for kind, code in _CODES if isinstance(error, kind)), grpc.StatusCode.INTERNAL)
