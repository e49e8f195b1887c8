"""How long the demo takes and how much memory: once from nothing, once more with nothing to do.

``make bench-demo`` prints the rows and writes ``benchmarks/out/demo.json``. Compare on an idle machine.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, told


def report(folder: Path) -> dict[str, Any]:
    """One demo; its report."""
    command = [sys.executable, "-m", "headrace", "demo", "--dir", str(folder), "--json"]
    done = subprocess.run(command, cwd=folder.parent, stdout=subprocess.PIPE, check=True)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def main() -> None:
    """Measure, print and write."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made).resolve() / "flights"
        first, again = report(folder), report(folder)
    told(
        [
            Figure("demo.wall_s", first["seconds"], "s"),
            Figure("demo.peak_rss_mib", round(first["peak_rss_bytes"] / 2**20), "MiB"),
            Figure("demo.rerun_to_endpoint_s", again["seconds_to_endpoint"], "s"),
        ],
        "demo",
    )
    kept = ("sent", "answered", "by_deadline", "per_second", "p50_ms", "p99_ms")
    print("requests", "  ".join(f"{name} {first['requests'][name]}" for name in kept))


if __name__ == "__main__":
    main()
