"""The project that a command runs in."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.settings import PIPELINE_FILE, PROJECT_FILE

if TYPE_CHECKING:
    from headrace.journey.platform import Platform

SPARING_MB = 48
"""For each thread of the table engine."""


def platform(**flags: Any) -> "Platform":
    """The platform of the current folder's project; ``flags`` win over every other setting.

    Imported when a command runs, so that ``--help`` stays quick.
    """
    from headrace.assembly import open_platform
    from headrace.settings import load_settings

    return open_platform(load_settings(flags=flags))


def no_project(root: Path) -> str:
    """What to say besides where nothing was found, and the folder is no project's; otherwise nothing."""
    if any((root / name).is_file() for name in (PROJECT_FILE, PIPELINE_FILE)):
        return ""
    return f"; {root.resolve()} has no {PROJECT_FILE} or {PIPELINE_FILE}: is the project elsewhere?"


def sparing() -> "Platform":
    """The same, for a command that reads what may be larger than memory: its table engine spills early to disk."""
    import os
    from dataclasses import replace

    from headrace.assembly import open_platform
    from headrace.settings import load_settings

    settings = load_settings()
    threads = settings.workers or os.cpu_count() or 1
    return open_platform(replace(settings, tables_memory_mb=settings.tables_memory_mb or SPARING_MB * threads))
