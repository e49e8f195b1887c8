"""``make bench-serving``: headrace beside the smallest server that does the same, and beside other projects' servers.

Prints a table and the figures with their bars and writes ``benchmarks/out/serving.json``. Every server proves its
answers against ONNX Runtime, then all are loaded in turns. Ratios are medians over rounds and hold on a busy machine;
times hold on an idle one. ``--quick`` measures briefly, with the peers that are installed already.
"""

import argparse
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.environments import install, installed
from benchmarks.figures import Figure, told
from benchmarks.serving import rpc
from benchmarks.serving.load import check_wrk
from benchmarks.serving.measure import Effort, Measured, measured, ratio
from benchmarks.serving.models import Served, made
from benchmarks.serving.subjects import (
    PACKAGES,
    PYTHONS,
    Subject,
    floors,
    headrace,
    peers,
    peers_with_columns,
    rpc_floor,
)

OURS, LOGGED, NAMED, RPC = "headrace", "headrace log", "headrace named", "headrace gRPC"
WHOLE, QUICK = Effort(), Effort(seconds=1, rounds=3, starts=1)
PEERS, QUICK_PEERS = Effort(rounds=3, starts=1), Effort(seconds=1, rounds=1, starts=1)
REPORTED = {"peers": {"triton"}, "named peers": {"kserve"}}
"""Shown and not held against us: Triton is not in Python; for KServe that is told to be quiet see decision 51."""

Group = Mapping[str, Measured]


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-serving")
    parser.add_argument("--quick", action="store_true", help="a minute or two instead of ten")
    parser.add_argument("--no-peers", action="store_true", help="the floors only")
    given = parser.parse_args()
    check_wrk()
    constraints = str(Path(__file__).parents[2] / "constraints.txt")
    install({"floor": ["-c", constraints, *PACKAGES["floor"]]})
    others = {name: packages for name, packages in PACKAGES.items() if name != "floor"}
    if not (given.quick or given.no_peers):
        install(others, PYTHONS)
    with tempfile.TemporaryDirectory(prefix="bench-serving-") as made_here:
        folder = Path(made_here).resolve()
        served = made(folder)
        found = _core(served, folder, QUICK if given.quick else WHOLE)
        if not given.no_peers:
            found |= _beside_peers(served, folder, QUICK_PEERS if given.quick else PEERS)
    for title, group in found.items():
        _print(title, group)
    numbers = {title: {name: asdict(one) for name, one in group.items()} for title, group in found.items()}
    told(figures(found), "serving", runs=numbers)


def _core(served: Mapping[str, Served], folder: Path, effort: Effort) -> dict[str, Group]:
    """Headrace beside the floors: digits, named columns, gRPC."""
    root = folder / "project"
    digits, flights = served["digits"], served["flights"]
    print("measuring digits over HTTP", flush=True)
    over_http = [*floors(digits), headrace(root, "digits", OURS), headrace(root, "digits-log", LOGGED)]
    found = {"digits": measured(over_http, digits, folder, effort)}
    print("measuring named columns", flush=True)
    named = [*floors(flights, folder / "flights.json"), headrace(root, "flights", NAMED)]
    found["named"] = measured(named, flights, folder, effort)
    print("measuring gRPC", flush=True)
    over_rpc = [rpc_floor(digits), headrace(root, "digits", RPC, rpc=True)]
    found["gRPC"] = rpc.measured(over_rpc, digits, folder, effort)
    return found


def _beside_peers(served: Mapping[str, Served], folder: Path, effort: Effort) -> dict[str, Group]:
    """Headrace beside the peers: digits, named columns."""
    digits, flights = served["digits"], served["flights"]
    named = peers_with_columns(flights, folder / "flights.json")
    return {
        "peers": _peers("digits", peers(digits), digits, folder, effort),
        "named peers": _peers("flights", named, flights, folder, effort),
    }


def _peers(endpoint: str, subjects: Sequence[Subject], served: Served, folder: Path, effort: Effort) -> Group:
    """Headrace beside each peer, one after the other: some keep the machine busy even when they are not asked."""
    found: dict[str, Measured] = {}
    ready = installed(list(PACKAGES))
    for subject in subjects:
        if subject.name.split()[0] not in ready:
            print(f"{subject.name} is not installed, so not compared")
            continue
        print(f"measuring {subject.name} with {endpoint}", flush=True)
        ours = headrace(folder / "project", endpoint, f"headrace beside {subject.name}")
        pair = measured([ours, subject], served, folder, effort)
        if subject.name in pair:
            found |= pair
    return found


def figures(found: Mapping[str, Group]) -> list[Figure]:
    """Everything that has a bar."""
    digits = found["digits"]
    ours = digits[OURS]
    rows = []
    for c in (16, 64):
        rows.append(_over_floor(f"serving.cpu_ratio_c{c}", digits, OURS, c, "cpu_us"))
        rows.append(_over_floor(f"serving.throughput_ratio_c{c}", digits, OURS, c, "rps"))
    rows += [
        _over_floor("serving.cpu_ratio_c16_log", digits, LOGGED, 16, "cpu_us"),
        _over_floor("serving.named_cpu_ratio_c16", found["named"], NAMED, 16, "cpu_us"),
        _over_floor("serving.grpc_cpu_ratio_c16", found["gRPC"], RPC, 16, "cpu_us"),
        Figure("serving.start_s", sorted(ours.starts_s)[len(ours.starts_s) // 2], "s"),
        Figure("serving.pss_mib", max(ours.pss_mib), "MiB"),
    ]
    for prefix, title in (("serving.", "peers"), ("serving.named_", "named peers")):
        rows += _over_all_peers(prefix, found.get(title, {}), REPORTED[title])
    return rows


def _over_all_peers(prefix: str, group: Group, reported: Collection[str]) -> list[Figure]:
    """Throughput at each count of connections, and CPU."""
    others = {name for name in group if not name.startswith("headrace")}
    asked = [("rps", 1), ("rps", 16), ("rps", 64), ("cpu_us", 16)] if others.difference(reported) else []
    return [_over_peers(prefix, group, reported, c, attribute) for attribute, c in asked]


def _over_floor(identifier: str, group: Group, ours: str, connections: int, attribute: str) -> Figure:
    """Against whichever floor does better at this."""
    ratios = {n: ratio(group[ours], group[n], connections, attribute) for n in group if n.startswith("floor")}
    worst = min if attribute == "rps" else max
    beside = {name: round(group[name].median(connections, attribute), 1) for name in (ours, *ratios)}
    return Figure(identifier, worst(ratios.values()), "ratio", beside)


def _over_peers(prefix: str, group: Group, reported: Collection[str], connections: int, attribute: str) -> Figure:
    """Against the peer that does best at this, those only reported aside."""
    others = [name for name in group if not name.startswith("headrace")]
    ratios = {n: ratio(group[f"headrace beside {n}"], group[n], connections, attribute) for n in others}
    what, worst = ("vs", min) if attribute == "rps" else ("cpu_vs", max)
    value = worst(value for name, value in ratios.items() if name not in reported)
    beside = {f"({name})" if name in reported else name: round(value, 2) for name, value in ratios.items()}
    return Figure(f"{prefix}{what}_best_peer_c{connections}", value, "ratio", beside)


def _print(title: str, group: Group) -> None:
    print(f"\n{title:<28}{'at':>4}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'CPU us':>9}{'start s':>9}{'PSS MiB':>9}")
    for name, one in group.items():
        for place, c in enumerate(one.runs):
            numbers = [one.median(c, attribute) for attribute in ("rps", "p50_ms", "p99_ms", "cpu_us")]
            line = f"{name if place == 0 else '':<28}{c:>4}{numbers[0]:>9.0f}"
            line += "".join(f"{number:>9.2f}" for number in numbers[1:])
            if place == 0 and one.starts_s:
                line += f"{sorted(one.starts_s)[len(one.starts_s) // 2]:>9.2f}{max(one.pss_mib):>9.0f}"
            print(line)
    print()


if __name__ == "__main__":
    main()
