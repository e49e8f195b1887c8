"""Plans kept from earlier runs: an unchanged project is not even imported.

A kept plan holds while everything that planning depended on is as it was: the source files, the installed packages, the
declared environment variables, the files that the pipeline's body opened, and the facts that it read.
"""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.pipelines.distributions import installed
from headrace.pipelines.keys import FORMAT, environment_parts
from headrace.pipelines.opened import digests
from headrace.pipelines.plan import Plan
from headrace.storage.ledger import Ledger, latest
from headrace.storage.manifest import file_digest


@dataclass(frozen=True)
class PlanCache:
    """Kept plans of a project.

    Attributes:
        folder: Where they are kept.
        root: The project.
    """

    folder: Path
    root: Path

    def find(self, request: Any, ledger: Callable[[], Ledger]) -> Plan | None:
        """The plan kept for a request (JSON values), if nothing that it depended on has changed."""
        try:
            data = json.loads(self._path(request).read_bytes())
        except (OSError, ValueError):
            return None
        if data["made_by"] != _made_by() or not self._holds(data):
            return None
        plan = Plan.from_json(data["plan"])
        seqs = [(fact.seq if (fact := latest(ledger(), r.kind, r.subject)) else 0) for r in plan.reads]
        return plan if seqs == [r.seq for r in plan.reads] else None

    def keep(self, request: Any, plan: Plan, *, sources: Iterable[Path], opened: Mapping[str, str]) -> None:
        """Keep a plan with what it depended on."""
        environment = [name for node in plan.nodes for name in node.parts.get("environment", {})]
        data = {
            "made_by": _made_by(),
            "sources": {str(path): file_digest(path) for path in sorted(sources)},
            "opened": dict(opened),
            "environment": environment_parts(environment),
            "plan": plan.to_json(),
        }
        path = self._path(request)
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_suffix(f".{os.getpid()}")
        half.write_text(json.dumps(data))
        half.replace(path)

    def _path(self, request: Any) -> Path:
        text = json.dumps([FORMAT, str(self.root), request], sort_keys=True, default=str)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"

    def _holds(self, data: Mapping[str, Any]) -> bool:
        sources: Mapping[str, str] = data["sources"]
        return (
            all(os.path.isfile(path) and file_digest(Path(path)) == due for path, due in sources.items())  # noqa: PTH113 - hot
            and digests(self.root, list(data["opened"])) == data["opened"]
            and environment_parts(data["environment"]) == data["environment"]
        )


def _made_by() -> list[str]:
    """Python and every installed package."""
    text = "\n".join(f"{name} {version}" for name, (version, _) in sorted(installed().items()))
    return [sys.version, hashlib.sha256(text.encode()).hexdigest()]
