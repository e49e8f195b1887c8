"""The other end of ``executor``: what a worker process does."""

import os
import pickle
import queue
import signal
import struct
import sys
import threading
from typing import IO, Any

_LENGTH = struct.Struct(">Q")


def send(pipe: IO[bytes], message: bytes) -> None:
    """One message with its length in front."""
    pipe.write(_LENGTH.pack(len(message)) + message)
    pipe.flush()


def receive(pipe: IO[bytes]) -> bytes:
    """The next message; raise ``EOFError`` when the other process is gone."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    message = pipe.read(_LENGTH.unpack(head)[0])
    if len(message) < _LENGTH.unpack(head)[0]:
        raise EOFError
    return message


def work(calls: int, answers: int) -> None:
    """Make calls until the pipe closes.

    Args:
        calls: File descriptor that calls arrive on.
        answers: File descriptor that answers go to.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to handle; it ends us
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(os.fdopen(calls, "rb"), waiting), daemon=True).start()
    with os.fdopen(answers, "wb") as out:
        send(out, b"ready")
        while True:
            send(out, _answer(waiting.get()))


def _read(pipe: IO[bytes], waiting: "queue.SimpleQueue[bytes]") -> None:
    """Pass calls on; when the main process is gone, end at once, in the middle of a call too."""
    try:
        while True:
            waiting.put(receive(pipe))
    except EOFError:
        os._exit(1)


def _answer(message: bytes) -> bytes:
    try:
        call, args = pickle.loads(message)  # noqa: S301 - from the process that started us
        return pickle.dumps((True, call(*args)))
    except Exception as error:  # noqa: BLE001 - it is the caller's to handle
        return _failure(error)
    finally:
        sys.stdout.flush()


def _failure(error: Exception) -> bytes:
    answer: Any = (False, error)
    try:
        packed = pickle.dumps(answer)
        pickle.loads(packed)  # noqa: S301 - some exceptions pickle but cannot be made again
    except Exception:  # noqa: BLE001 - whatever it is, its text still travels
        return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
    return packed
