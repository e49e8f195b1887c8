"""How long the demo takes and how much memory: once from nothing, once more with nothing to do.

``make bench-demo`` prints the rows and writes ``benchmarks/out/demo.json``. Compare on an idle machine.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

OUT = Path(__file__).parent / "out" / "demo.json"


def told(folder: Path) -> dict[str, Any]:
    """One demo; its report."""
    command = [sys.executable, "-m", "headrace", "demo", "--dir", str(folder), "--json"]
    done = subprocess.run(command, cwd=folder.parent, stdout=subprocess.PIPE, check=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def main() -> None:
    """Measure, print and write."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made).resolve() / "flights"
        first, again = told(folder), told(folder)
    requests = {k: first["requests"][k] for k in ("sent", "answered", "by_deadline", "per_second", "p50_ms", "p99_ms")}
    rows = [
        {"id": "demo.wall_s", "value": first["seconds"], "unit": "s", "beside": {}},
        {"id": "demo.peak_rss_mib", "value": round(first["peak_rss_bytes"] / 2**20), "unit": "MiB", "beside": {}},
        {"id": "demo.rerun_to_endpoint_s", "value": again["seconds_to_endpoint"], "unit": "s", "beside": {}},
    ]
    for row in rows:
        print(f"{row['id']:<28}{row['value']:>10} {row['unit']}")
    print(f"requests                    {requests}")
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
