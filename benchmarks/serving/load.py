"""Load: wrk for HTTP, a small client of our own for gRPC; each gives one ``Run``."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = """
wrk.method = "POST"
wrk.body = %s
wrk.headers["Content-Type"] = "application/json"
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{"requests":%%d,"us":%%d,"p50_us":%%d,"p99_us":%%d,"failed":%%d}\\n', summary.requests,
    summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True)
class Run:
    """One load on one server.

    Attributes:
        requests: Answered.
        failed: Not answered, or not with 200.
        rps: Answered a second.
        p50_ms: Median milliseconds.
        p99_ms: 99th percentile.
        cpu_us: CPU microseconds of the server's tree for each request.
    """

    requests: int
    failed: int
    rps: float
    p50_ms: float
    p99_ms: float
    cpu_us: float = 0.0


def check_wrk() -> None:
    """Stop with the fix when wrk is not installed."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed - fix: apt-get install wrk (as root)")


def http(url: str, body: bytes, *, connections: int, seconds: int, folder: Path) -> Run:
    """POST ``body`` again and again over so many connections."""
    script = folder / "wrk.lua"
    script.write_text(_SCRIPT % json.dumps(body.decode()).replace("\\/", "/"))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(script), url]
    return _run(command)


def rpc(address: str, message: Path, *, connections: int, seconds: int) -> Run:
    """``ModelInfer`` with the bytes in ``message`` again and again over so many connections."""
    program = str(Path(__file__).parent / "programs" / "rpc_client.py")
    return _run([sys.executable, program, address, str(message), str(connections), str(seconds)])


def _run(command: list[str]) -> Run:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr[-500:]}")
    said = json.loads(done.stdout.strip().splitlines()[-1])
    rps = said["requests"] / said["us"] * 1e6
    return Run(said["requests"], said["failed"], rps, said["p50_us"] / 1000, said["p99_us"] / 1000)
