"""Loaded models, each once, however many endpoints use it; one that nobody uses is unloaded."""

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field

from headrace.serving.aspired import Wanted
from headrace.serving.versions import Model


@dataclass
class _Kept:
    wanted: Wanted
    users: int = 1
    model: "Future[Model]" = field(default_factory=Future)


class Shelf:
    """Counts who uses which model; may be shared between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}

    @property
    def names(self) -> list[str]:
        """Model versions that are loaded or being loaded."""
        with self._lock:
            return [kept.wanted.name for kept in self._kept.values()]

    def take(self, wanted: Wanted) -> Model:
        """The model, loaded now unless it is already; ``give`` it back for each time it was taken.

        Raises:
            Exception: It could not be loaded; there is nothing to give back then.
        """
        with self._lock:
            kept = self._kept.get(wanted.key)
            first = kept is None
            if kept is None:
                kept = self._kept[wanted.key] = _Kept(wanted)
            else:
                kept.users += 1
        if not first:
            return kept.model.result()
        try:
            model = wanted.load()
        except BaseException as error:
            with self._lock:
                del self._kept[wanted.key]
            wanted.discard()
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
            del self._kept[key]
        kept.model.result().loaded.close()
        kept.wanted.discard()
