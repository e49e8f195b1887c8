"""``python -m soak --minutes 20 [--seed N]``: runs the mixed soak, prints its report, fails with 1 on a breach."""

import argparse
import random
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from mixed_project import MixedProject
from server_process import alive, serving

from headrace.client import Client
from headrace.placement.tokens import NAME
from headrace.serving.log import RequestLog
from soak.faults import Faults
from soak.given_up import PROMISED_S, unexplained
from soak.traffic import WORKERS, begun
from soak.watch import Watch

VERSIONS = 4
SLOPE_MIB = 1.0
# Of fewer requests memory tells nothing: what is loaded anew again and again takes a while to find its size.
TELLING = 250_000
MORE_FILES = 4
MORE_THREADS = 4
EXIT_S = 10.0
_WARM_S = 2.0
_OPTIONS = ("--grpc-port", "0", "--control-port", "0")


def project(root):
    """``wine`` in several versions, the same unlogged and spare, and models in workers."""
    opened = MixedProject(root)
    versions = [opened.register(bias) for bias in range(VERSIONS)]
    opened.deploy(versions[0], deadline_s=PROMISED_S)
    for endpoint in ("bulk", "spare"):
        opened.deploy(versions[0], endpoint=endpoint, deadline_s=5.0, log="off")
    for name in WORKERS:
        opened.double(name, deadline_s=0.5, log="async" if name == "steady" else "off")
    return opened, versions


def soaked(root, seconds, seed):
    """Run it; return the lines of the report, and the promises that were broken."""
    opened, versions = project(root)
    names = [option for name in ("wine", "bulk", "spare", *WORKERS) for option in ("--endpoint", name)]
    with serving(root, *_OPTIONS, *names) as server:
        token = (root / ".headrace" / NAME).read_text().strip()
        traffic = begun(server)
        time.sleep(_WARM_S)
        before = server.files(), server.threads()
        watch = Watch(server, traffic, seconds)
        with Client(server.control) as control:
            faults = Faults(opened, server, versions, (control, token), seed)
            time.sleep(seconds)
            faults.stop()
        time.sleep(_WARM_S)
        watch.stop()
        after = server.files(), server.threads()
        for kind in traffic:
            kind.load.end()
        workers = server.workers()
        code, took_s = server.end()
        said = server.said()
        left = [pid for pid in workers if alive(pid)]
    lines, broken = answers(traffic)
    broken += [f"harm could not be done: {error}" for error in faults.errors]
    broken += logged(opened, traffic)
    opened.close()
    lines.append("harm done: " + ", ".join(f"{kind} {count}" for kind, count in sorted(faults.done.items())))
    slope = watch.slope_mib()
    lines.append(f"memory: {watch.seen[-1][1] / 1024:.0f} MiB at the end; serving.rss_slope_mib_per_100k {slope:.3f}")
    lines.append(f"open files: {before[0]} before, {after[0]} after; threads: {before[1]} before, {after[1]} after")
    lines.append(f"ended with {code} after {took_s:.2f} s; workers left: {len(left)}")
    lines.append("it said: " + _kinds(said))
    grows = slope >= SLOPE_MIB and watch.requests >= TELLING
    limits = {
        f"memory grows by {slope:.3f} MiB per 100,000 requests": grows,
        f"{after[0] - before[0]} more open files": after[0] > before[0] + MORE_FILES,
        f"{after[1] - before[1]} more threads": after[1] > before[1] + MORE_THREADS,
        f"it ended with {code} after {took_s:.1f} s": code != 0 or took_s > EXIT_S,
        f"{len(left)} workers were left": bool(left),
        "it met what it did not expect": "Traceback" in said,
    }
    return lines, broken + [what for what, broke in limits.items() if broke]


def answers(traffic):
    """What came of each kind of traffic, and what of that should not have."""
    lines, broken = [f"{'TRAFFIC':<28}{'REQUESTS':>10}  WHAT CAME OF IT"], []
    for kind in traffic:
        seen, wrong = kind.load.seen, kind.unexplained()
        told = Counter()
        for key, count in seen.items():
            told[re.sub(r"@\d+", "", " ".join(map(str, key)).strip() if isinstance(key, tuple) else key)] += count
        lines.append(
            f"{kind.name:<28}{sum(seen.values()):>10}  " + ", ".join(f"{what}: {n}" for what, n in told.most_common())
        )
        broken += [f"{kind.name}: {count} times {what}" for what, count in wrong.items()]
    lines.append(f"{'all':<28}{sum(sum(kind.load.seen.values()) for kind in traffic):>10}")
    return lines, broken


def logged(opened, traffic):
    """What the log of ``wine`` lacks of what was answered as logged, or has more."""
    promised = [kind.load for kind in traffic if kind.logged]
    ids = {i for load in promised for i in load.ids}
    lost = {i for load in promised for i in load.unlogged}
    calls = [call for load in promised for call in getattr(load, "given_up", ())]
    log, after, found, more = RequestLog(opened.platform.stream(), "wine"), -1, set(), []
    while page := log.predictions(after, 1000, late=False):
        after = page[-1][0]
        found |= {prediction.id for _, prediction in page}
        more += [prediction for _, prediction in page if prediction.id not in ids or prediction.id in lost]
    alone, odd = unexplained(calls, more)
    told = {
        "answered requests are not in the log": len(ids - lost - found),
        "calls were given up for which the log has no reason": alone,
        "requests are in the log whose replies said no, or never came": odd,
    }
    return [f"{count} {what}" for what, count in told.items() if count]


def _kinds(said):
    """Lines of standard error by what they are about."""
    kinds = Counter(re.sub(r"[\d.]+|:.*", "", line).strip() for line in said.splitlines())
    return ", ".join(f"{kind!r} {count} times" for kind, count in kinds.most_common()) or "nothing"


def main():
    parser = argparse.ArgumentParser(prog="soak", description="Mixed load and random faults on one gateway.")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--seed", type=int, default=None, help="draws the same harm again")
    asked = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if asked.seed is None else asked.seed
    _say(f"soak: {asked.minutes:g} minutes, seed {seed}")
    with tempfile.TemporaryDirectory() as folder:
        lines, broken = soaked(Path(folder).resolve(), asked.minutes * 60, seed)
    _say(*lines, *(f"BROKEN: {what}" for what in broken))
    _say(f"soak: {len(broken)} promises were broken" if broken else "soak: nothing was broken")
    return 1 if broken else 0


def _say(*lines):
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
