"""The other end of ``worker_process``: the process in which a model is loaded and scores.

It imports what its loader needs and nothing of the server. A model that raises answers so; one that crashes, exits or
takes more memory than allowed ends this process only.
"""

import importlib
import inspect
import os
import queue
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from headrace.errors import HeadraceError, SignatureError
from headrace.models.signature import Signature
from headrace.serving.frames import Channel, Frame, packed, unpacked
from headrace.serving.lifeline import hold

Score = Callable[..., Mapping[str, Any]]
"""A loaded model inside its worker: a batch in, arrays by output name out; ``params`` besides, where it takes them."""

Scores = Score | Mapping[str, Score]
"""What loading gives: what scores; of a model with several signatures by name, the one it serves unasked as ``""``."""

Declare = Callable[[Path, str], Signature]
"""Takes a model's folder and the name of one of its signatures, empty for its default; gives that signature."""

Show = Callable[[Path, Signature], Mapping[str, Any]]
"""Takes a model's folder and signature; gives what ``Runtime.examples`` does, or an empty mapping."""

OUT_OF_MEMORY = 77
"""Exit code of a worker that met its memory limit."""


def work(inherited: tuple[int, int], memory_bytes: int) -> None:
    """Load a model and score, or say what one declares or shows, as asked, until the connection closes.

    Of models that it is asked to load one after another it holds the last.

    Args:
        inherited: File descriptors of the socket to the server, and of what ends with the server (``lifeline``).
        memory_bytes: How much private memory this process may take.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to handle; it ends us
    connection, server = inherited
    hold(server)
    limit_memory(memory_bytes)
    channel = Channel(socket.socket(fileno=connection))
    waiting: queue.SimpleQueue[Frame] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(channel, waiting), daemon=True).start()
    scores: Mapping[str, Score] = {}
    try:
        while True:
            asked = waiting.get()
            if asked.kind == "score":
                channel.send(_scored(scores, asked))
                continue
            scores = {}  # two models at once may be more than the memory
            if asked.kind != "forget":
                scores = _looked(channel, asked)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)  # what is left of a heap that is full is not worth cleaning up


def limit_memory(memory_bytes: int) -> None:
    """Bound the private memory of this process (Linux), and leave no core file when it crashes."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # elsewhere the limit covers no anonymous memory
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))


def _read(channel: Channel, waiting: "queue.SimpleQueue[Frame]") -> None:
    """Pass messages on; when the server is gone, end at once, in the middle of a score too."""
    try:
        while True:
            waiting.put(channel.receive())
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except (EOFError, OSError, ValueError):
        os._exit(1)


def _looked(channel: Channel, asked: Frame) -> Mapping[str, Score]:
    """Load, declare or show; what scores by signature, nothing unless a model was loaded."""
    module, _, name = asked.said["function"].partition(":")
    folder = Path(asked.said["folder"])
    scores: Mapping[str, Score] = {}
    said: dict[str, Any] = {}
    try:
        call = getattr(importlib.import_module(module), name)
        if asked.kind == "declare":
            said = call(folder, asked.said["name"]).to_json()
        elif asked.kind == "show":
            said = dict(call(folder, Signature.from_json(asked.said["signature"])))
        else:
            signature = Signature.from_json(asked.said["signature"])
            loaded: Scores = call(folder, signature)
            found = loaded if isinstance(loaded, Mapping) else {"": loaded}
            _check_params(found[""], signature)
            scores = found
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - it is told to the server, which raises it
        channel.send(_failed(error))
        return {}
    channel.send(Frame("ready", said=said))
    return scores


def _check_params(score: Score, signature: Signature) -> None:
    if signature.params and "params" not in inspect.signature(score).parameters:
        raise SignatureError("the model takes no params", why=f"the signature has {signature.params[0].name!r}")


def _scored(scores: Mapping[str, Score], asked: Frame) -> Frame:
    try:
        batch, begun = unpacked(asked.arrays), time.monotonic()
        score, params = scores[asked.said.get("name", "")], asked.said.get("params")
        found = score(batch, params=params) if params else score(batch)
        within = begun, time.monotonic()
        return Frame("scored", packed(found), within=within)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - it costs the caller this score only
        return _failed(error)
    finally:
        sys.stdout.flush()


def _failed(error: Exception) -> Frame:
    if isinstance(error, HeadraceError):
        parts = {"what": error.what, "where": error.where, "why": error.why, "fix": error.fix}
        return Frame("failed", said={"code": error.code, **parts})
    return Frame("failed", said={"code": "", "what": f"{type(error).__name__}: {error}"[:500]})
