"""What pipelines need from engines: a codec to keep values, an executor to run steps, listeners to tell."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from concurrent.futures import Future

TABLE = "table"
TABLE_FILE = "data.parquet"
WORKER_DIED = "the worker process died"
"""How the message of a ``RunFailed`` begins when a call took its process down."""


@dataclass(frozen=True)
class Stored:
    """A value on disk, as a codec left it.

    Attributes:
        codec: Name of the codec that saved it (``narwhals``, ``sklearn``).
        form: What lies in the folder. Any codec of the same form can load it: every table codec writes
            ``TABLE``, which is one Parquet file named ``TABLE_FILE``.
        digest: Content digest, hexadecimal: of rows for tables, of bytes otherwise.
        about: Small JSON facts for people: rows, columns, class name, bytes.
    """

    codec: str
    form: str
    digest: str
    about: Mapping[str, Any]


class Codec(Protocol):
    """Port: save and load one family of types, chosen by the annotation's top-level module.

    A codec's factory takes ``(settings, tables)``: tables are materialised by the environment's table engine,
    ``tables()``, whatever library their author writes them in.
    """

    name: str
    form: str

    def fits(self, annotation: Any) -> bool:
        """Whether values annotated so (a class, or ``module.Class[...]``) are this codec's."""

    def save(self, value: Any, folder: Path) -> Stored:
        """Write ``value`` as files into the empty ``folder``; the caller makes them durable."""

    def load(self, folder: Path, annotation: Any) -> Any:
        """The value again, as ``annotation`` wants it handed over."""


class Executor(Protocol):
    """Port: run calls in other processes, at most ``slots`` at once.

    A call whose future is cancelled before a worker took it never runs: the main process takes it back so. A call that
    takes its process down fails with ``RunFailed(WORKER_DIED)``; the calls after it get another process.
    """

    slots: int

    def submit(self, call: Callable[..., Any], /, *args: Any) -> "Future[Any]":
        """Run a picklable module-level function with picklable arguments in a worker process."""

    def close(self) -> None:
        """End the workers; running calls are cancelled."""


class RunListener(Protocol):
    """Hears what a run does (progress on a terminal, a mirror in a tracking server)."""

    def on(self, event: str, facts: Mapping[str, Any]) -> None:
        """``event`` is ``run.started``, ``step.started``, ``step.finished``, ``step.failed`` or ``run.finished``."""
