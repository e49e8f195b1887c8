"""In a network that has nothing but loopback a whole journey works, and nobody tries to leave."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Every Python process of the journey writes down whom it asks for a connection, and which names it looks up.
WATCH = """
import os, sys
AT = {"socket.connect": 1, "socket.sendto": 1, "socket.getaddrinfo": 0, "socket.gethostbyname": 0}
def seen(event, values):
    if event in AT:
        with open(os.environ["HEADRACE_SEEN"], "a") as file:
            print(event, values[AT[event]], file=file)
sys.addaudithook(seen)
"""
HERE = re.compile(r"\S+ (127\.0\.0\.1|localhost|\('127\.0\.0\.1', \d+\)|/.*)")  # or a path, of a socket in a file
JOURNEY = """
set -e
ip link set lo up 2>/dev/null || true
python="$1"; shift
"$python" -m headrace init shop
cd shop
trap '"$python" -m headrace serving run --stop' EXIT
"$python" -m headrace run returns
"$python" -m headrace serving run --detach --port 0 --grpc-port 0
"$python" -m headrace serving predict returns --file ../row.json
"""


def alone():
    """What runs a command in a network of its own, where that is allowed here; nothing otherwise."""
    command = ["unshare", "-rn"]
    if shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
        return command
    return []


@pytest.mark.timeout(200)
def test_a_journey_connects_nowhere(tmp_path):
    watch = tmp_path / "watch"
    watch.mkdir()
    (watch / "sitecustomize.py").write_text(WATCH)
    seen = tmp_path / "seen"
    seen.write_text("")
    row = {"amount": 64.26, "items": 3, "item_price": 21.42, "days_to_deliver": 3, "returned_before": 1}
    (tmp_path / "row.json").write_text(json.dumps(row))
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(watch)}
    done = subprocess.run(
        [*alone(), "sh", "-c", JOURNEY, "sh", sys.executable],
        cwd=tmp_path,
        env={**environment, "HEADRACE_SEEN": str(seen)},
        timeout=180,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    lines = seen.read_text().splitlines()
    assert any("127.0.0.1" in line for line in lines)
    assert [line for line in lines if not HERE.fullmatch(line)] == []


def test_only_loopback_listens(server):
    listening = list(listeners(server.pid))
    assert len(listening) == 4
    assert set(listening) == {"127.0.0.1"}


def listeners(pid):
    """Addresses of a process's listening sockets."""
    own = {"tcp": "0100007F", "tcp6": "0000000000000000FFFF00000100007F"}
    held = {path.readlink().name for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == "0A" and f"socket:[{rest[5]}]" in held:
                yield "127.0.0.1" if local.partition(":")[0] == own[table] else local
