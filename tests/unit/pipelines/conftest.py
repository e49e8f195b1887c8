"""A project in a folder of its own, run in this process."""

import importlib
import itertools
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from headrace.assembly import open_platform
from headrace.sdk import ambient
from headrace.sdk.running import Request, prepared
from headrace.settings import Settings

_numbers = itertools.count()
HEAD = "import headrace as hr\n"


@dataclass
class Heard:
    """A listener that remembers."""

    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def on(self, event, facts):
        self.events.append((event, dict(facts)))

    def names(self, event):
        return [facts["name"] for kind, facts in self.events if kind == event]


class Project:
    """``write`` a module, ``run`` a pipeline of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(exist_ok=True)
        self.module = f"made_project_{next(_numbers)}"
        self.platform = open_platform(Settings(root=root, workers=2))
        self.heard = Heard()

    def write(self, source: str, name: str = "") -> Path:
        path = self.root / f"{name or self.module}.py"
        path.write_text(HEAD + source)
        importlib.invalidate_caches()
        sys.modules.pop(name or self.module, None)
        return path

    def prepared(self, pipeline="main", *, only=(), overrides=None, **params):
        request = Request(f"{self.module}:{pipeline}", params, overrides or {}, only)
        return prepared(request, listeners=[self.heard])

    def run(self, pipeline="main", **options):
        return self.prepared(pipeline, **options).execute()

    def marks(self) -> list[str]:
        """What steps noted with ``note``."""
        path = self.root / "notes.txt"
        return path.read_text().split() if path.exists() else []

    @property
    def workspace(self):
        return ambient.workspace(self.platform)


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a file written twice within a second must be read again
    made = Project(tmp_path)
    with ambient.use(made.platform):
        yield made
    made.platform.close()
