"""What the services share: reading messages, scoring, and turning faults into codes."""

import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from headrace.errors import HeadraceError, NotFound, Unavailable, UsageError
from headrace.serving.dataplane import DataPlane
from headrace.serving.records import DEFAULT
from headrace.serving.rendezvous import Answer, Live
from headrace.serving.request import Input

Call = Callable[[Any], Awaitable[Any]]
"""Answers a message with a message, or raises ``HeadraceError``."""

_CODES: tuple[tuple[type[HeadraceError], Any], ...] = (
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (Unavailable, grpc.StatusCode.UNAVAILABLE),
    (UsageError, grpc.StatusCode.INVALID_ARGUMENT),
)


async def score(plane: DataPlane, live: Live, given: Input) -> Answer:
    """The answer to an input; raise ``Unavailable`` when no model gave one and the endpoint has no default."""
    done = live.loop.create_future()

    def reply(answer: Answer) -> None:
        if not done.done():  # else the caller has gone
            done.set_result(answer)

    plane.predict(live, given, reply)
    answer: Answer = await done
    if answer.winner == DEFAULT and not answer.outputs:
        raise Unavailable(f"no model answered request {answer.id}", why="the endpoint has no default")
    return answer


def at_once(read: Callable[[Any], Any]) -> Call:
    """A call that waits for nothing."""

    async def call(request: Any) -> Any:
        return read(request)

    return call


def unary(kind: Any, call: Call) -> Any:
    """A handler that reads its message itself: gRPC would write a trace to the log for each that is malformed."""

    async def behaviour(message: bytes, context: Any) -> Any:
        try:
            return (await call(parsed(kind, message))).SerializeToString()
        except HeadraceError as error:
            await context.abort(_code(error), str(error))
        except Exception:  # noqa: BLE001 - a fault of ours: the caller learns that, not our stack
            sys.stderr.write(traceback.format_exc())
            await context.abort(grpc.StatusCode.INTERNAL, "internal error")

    return grpc.unary_unary_rpc_method_handler(behaviour)


def parsed(kind: Any, message: bytes) -> Any:
    """The message; raise ``UsageError`` when the bytes are none."""
    try:
        return kind.FromString(message)
    except DecodeError as error:
        raise UsageError("the message cannot be read", why=str(error)) from None


def _code(error: HeadraceError) -> Any:
    return next((code for kind, code in _CODES if isinstance(error, kind)), grpc.StatusCode.INTERNAL)
