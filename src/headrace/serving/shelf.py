"""Loaded models, each once, however many endpoints use it; one that nobody uses is unloaded."""

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field

from headrace.serving.aspired import Wanted
from headrace.serving.versions import Model


@dataclass
class _Kept:
    """A model, until what it leaves behind is removed.

    Attributes:
        wanted: What it is.
        users: How many use it; none while it is unloaded.
        model: It, once it is loaded.
        gone: Set once it is unloaded.
    """

    wanted: Wanted
    users: int = 1
    model: "Future[Model]" = field(default_factory=Future)
    gone: threading.Event = field(default_factory=threading.Event)


class Shelf:
    """Counts who uses which model; may be shared between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}

    @property
    def names(self) -> list[str]:
        """Model versions that are loaded, or on their way in or out."""
        with self._lock:
            return [kept.wanted.name for kept in self._kept.values()]

    def take(self, wanted: Wanted) -> Model:
        """The model, loaded now unless it is already; ``give`` it back for each time it was taken.

        One that is being unloaded is waited for: what is removed then would be what is loaded anew.

        Raises:
            Exception: It could not be loaded; there is nothing to give back then.
        """
        kept, first = self._place(wanted)
        if not first:
            return kept.model.result()
        try:
            model = wanted.load()
        except BaseException as error:
            wanted.discard()
            self._remove(kept)
            kept.model.set_exception(error)
            raise
        kept.model.set_result(model)
        return model

    def close(self) -> None:
        """Unload everything that is loaded, whoever uses it."""
        with self._lock:
            loaded = [kept for kept in self._kept.values() if kept.model.done() and not kept.model.exception()]
        for kept in loaded:
            kept.model.result().loaded.close()
            kept.wanted.discard()

    def give(self, key: str) -> None:
        """Take note that somebody uses it no more; the last one to say so waits until it is unloaded."""
        with self._lock:
            kept = self._kept[key]
            kept.users -= 1
            if kept.users:
                return
        try:
            kept.model.result().loaded.close()
            kept.wanted.discard()
        finally:
            self._remove(kept)

    def _place(self, wanted: Wanted) -> tuple[_Kept, bool]:
        """Where a model is kept, with one user more; and whether that one must load it."""
        while True:
            with self._lock:
                kept = self._kept.get(wanted.key)
                if kept is None:
                    kept = self._kept[wanted.key] = _Kept(wanted)
                    return kept, True
                if kept.users:
                    kept.users += 1
                    return kept, False
            kept.gone.wait()

    def _remove(self, kept: _Kept) -> None:
        with self._lock:
            del self._kept[kept.wanted.key]
        kept.gone.set()
