"""The Platform: one environment's engines, bound once by ``assembly`` and frozen."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # opening a platform imports no room that nobody asked for
    from headrace.features.online import OnlineFeatures
    from headrace.models.runtime import Runtime
    from headrace.optimization.converter import Converter
    from headrace.pipelines.ports import Codec, Executor
    from headrace.placement.services import Services
    from headrace.serving.exchange import Exchange
    from headrace.settings import Settings
    from headrace.storage.files import Files
    from headrace.storage.ledger import Ledger
    from headrace.storage.stores import Stores
    from headrace.storage.stream import Stream
    from headrace.storage.tables import Tables
    from headrace.training.tracking import Tracking
    from headrace.tuning.sampler import Sampler


@dataclass(frozen=True)
class Platform:
    """Engines by port. Heavy ones are zero-argument callables that import and open their engine on first use.

    Attributes:
        settings: What was read, and from where.
        home: The project's state folder (``.headrace``).
        ledger: Facts.
        files: Objects.
        tables: The table engine.
        stream: Request, score and label logs.
        online: Features by key.
        exchange: Between front doors and workers; raises ``SettingsError`` where the stream carries nothing.
        executor: Worker processes.
        services: Long-running services.
        sampler: Search strategy.
        tracking: Mirror of training runs, or None when no such engine is installed or chosen.
        codec: By name or by the top-level module of an annotation; None when no engine is known for it.
        runtime: By model format; raises ``MissingExtra``.
        converter: That fits a trained model, by its class's top-level module; raises ``MissingExtra``.
        close: Close all that was opened.
    """

    settings: "Settings"
    home: Path
    ledger: "Callable[[], Ledger]"
    files: "Callable[[], Files]"
    tables: "Callable[[], Tables]"
    stream: "Callable[[], Stream]"
    online: "Callable[[], OnlineFeatures]"
    exchange: "Callable[[], Exchange]"
    executor: "Callable[[], Executor]"
    services: "Callable[[], Services]"
    sampler: "Callable[[], Sampler]"
    tracking: "Callable[[], Tracking | None]"
    codec: "Callable[[str], Codec | None]"
    runtime: "Callable[[str], Runtime]"
    converter: "Callable[[str], Converter]"
    close: "Callable[[], None]"

    def stores(self) -> "Stores":
        """Ledger, Files and Tables, opened, as the rooms take them."""
        from headrace.storage.stores import Stores

        return Stores(self.ledger(), self.files(), self.tables(), self.home / "cache")
