"""A request log as long as a busy day's, made of records that a gateway wrote; as a program, a reader of one."""

import json
import random
import sys
import time
from pathlib import Path

from headrace.engines.local.stream import LocalStream
from headrace.serving.log import RequestLog, topic
from headrace.storage.stream import Record

DAY_MS = 24 * 3600 * 1000
_BATCH = 2000


def lengthen(folder, endpoint, count, begins_ms):
    """Repeat the records of a log under new ids until so many were asked in a day; the old ones lie before it.

    Args:
        folder: Of the streams.
        endpoint: Whose log.
        count: Of the records to add.
        begins_ms: Unix milliseconds of the first; the last is a day later.
    """
    stream, chance = LocalStream(folder), random.Random(5)
    values = [record.value for record in stream.read(topic(endpoint), limit=_BATCH)]
    for first in range(0, count, _BATCH):
        records = []
        for number in range(first, min(first + _BATCH, count)):
            at_ms = begins_ms + number * DAY_MS // count
            records.append(Record(_id(at_ms, chance), values[number % len(values)], at_ms))
        stream.append(topic(endpoint), records)
    stream.close()


def _id(at_ms, chance):
    digits, rest = f"{at_ms:012x}", f"{chance.getrandbits(72):018x}"
    return f"{digits[:8]}-{digits[8:]}-7{rest[:3]}-8{rest[3:6]}-{rest[6:]}"


def _read(folder, endpoint, since_ms, until_ms):
    """Read a span of a log and say what that took of this process."""
    log = RequestLog(LocalStream(Path(folder)), endpoint)
    before_kib, begun, rows = _peak_kib(), time.monotonic(), 0
    for page in log.between(int(since_ms), int(until_ms)):
        rows += len(page)
    said = {"rows": rows, "seconds": time.monotonic() - begun, "grown_mib": (_peak_kib() - before_kib) / 1024}
    sys.stdout.write(json.dumps(said))


def _peak_kib():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


if __name__ == "__main__":
    _read(*sys.argv[1:])
