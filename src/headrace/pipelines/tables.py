"""Tables between steps: whatever library wrote one, it is materialised once by the environment's table engine."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from headrace.pipelines.ports import TABLE, TABLE_FILE, Stored

if TYPE_CHECKING:
    from headrace.settings import Settings
    from headrace.storage.tables import Tables


class TableCodec:
    """The half of a table codec that all of them share: saving. An engine adds ``fits`` and ``load``.

    Args:
        settings: Of the environment.
        tables: Opens the environment's table engine.
    """

    name: ClassVar[str]
    form = TABLE

    def __init__(self, settings: "Settings", tables: "Callable[[], Tables]") -> None:
        self.settings, self.tables = settings, tables

    def save(self, value: Any, folder: Path) -> Stored:
        """Run the table's plan once into ``data.parquet``; see ``Codec.save``."""
        import narwhals as nw

        frame = value if isinstance(value, nw.LazyFrame | nw.DataFrame) else nw.from_native(value)
        facts = self.tables().write(frame, folder / TABLE_FILE)
        about = {"rows": facts.rows, "columns": len(facts.schema), "schema": dict(facts.schema)}
        return Stored(self.name, TABLE, facts.digest, about)


def class_in(annotation: Any, module: str, names: tuple[str, ...]) -> bool:
    """Whether an annotation is one of a library's classes, or a subclass, told without importing the library."""
    ancestors = getattr(annotation, "__mro__", ())
    return any(c.__module__.partition(".")[0] == module and c.__name__ in names for c in ancestors)
