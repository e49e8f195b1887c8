"""A power cut after any reply of a ``power-safe`` endpoint: what was replied to is in the log that the disk then holds.

What a real gateway did to its log's files and what it sent is recorded, call by call. For a reply, the disk is rebuilt
as it must be when power fails in the moment that the reply leaves: with what was synced before, and once more with any
part of the rest, torn at sectors.
"""

import json
import os
import random
import re
import shutil
import sys
from pathlib import Path

import power
import pytest
from load import Load, predict
from power.disk import Disk
from power.recorder import read
from server_process import serving
from wine_project import ROW, WineProject

from headrace.engines.local.stream import LocalStream
from headrace.errors import Unavailable
from headrace.serving.log import topic
from headrace.serving.retention import Keep

SOAK = bool(os.environ.get("HEADRACE_SOAK"))
REPLIES = 20_000 if SOAK else 1000
CUTS = 400 if SOAK else 20
LAST = 200
KEPT_MB = 60 if SOAK else 3
"""More than comes; a segment is an eighth of it."""
ASKED = predict("wine", json.dumps({"instances": [ROW] * 20}).encode())
ID = re.compile(rb"x-headrace-id: ([0-9a-f-]{36})")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800 if SOAK else 120)]

RECORDER = Path(power.__file__).with_name("recorder.py")


def recorded(root, log):
    """The events of a gateway whose endpoint keeps such a log, from its first start to its end, under load."""
    project = WineProject(root)
    project.deploy(project.register(0.5), deadline_s=5.0, log=log, keep=Keep(mb=KEPT_MB))
    project.close()
    home, events = root / ".headrace", root / "events"
    assert not (home / "stream").exists()
    before = (sys.executable, str(RECORDER), str(home), str(events))
    with serving(root, before=before) as server:
        load = Load(server.port, [ASKED], connections=8, most=REPLIES)
        load.wait_for(REPLIES, 600.0)
        assert {status for status, _ in load.end()} == {200}
        assert load.unlogged == []
        assert server.end()[0] == 0
    ours = str((home / "stream").resolve()), str(home.resolve())
    return [e for e in read(events) if e[0] == "sent" or e[1].startswith(ours[0]) or e[1] == ours[1]]


def lost(events, home, scratch, torn):
    """For some replies: how many of those until then are not in the log after a cut at that moment.

    ``torn`` draws what of the unsynced came to the disk; without it nothing did.
    """
    replies = [at for at, event in enumerate(events) if event[0] == "sent" and ID.search(event[1])]
    chosen = {replies[0], *random.Random(1).sample(replies, CUTS)}
    disk, ids, missing = Disk(home), [], {}
    for at, event in enumerate(events):
        assert event[0] != "unseen", event
        disk.take(event)
        if event[0] == "sent":
            ids += [found.decode() for found in ID.findall(event[1])]
        if at in chosen:
            folder = scratch / str(at)
            folder.mkdir(parents=True)
            disk.after_a_cut(folder, torn)
            missing[at] = len(ids) - len(found(folder / "stream", ids))
            shutil.rmtree(folder)
    assert len(set(ids)) == REPLIES
    return missing


def segments(events):
    """How many segments the log came to have while replies were still to come."""
    last = max(at for at, event in enumerate(events) if event[0] == "sent")
    return sum(e[0] == "create" and e[1].endswith(".log") and "/requests.wine/" in e[1] for e in events[:last])


def found(folder, ids):
    """Those of the requests that a log holds; none where it cannot be read. The last ones are also found by their id."""
    stream = LocalStream(folder)
    try:
        read = {record.key for record in stream.read(topic("wine"), limit=2 * REPLIES)}
        by_id = {identifier for identifier in ids[-LAST:] if stream.find(topic("wine"), identifier)}
        return [i for i in ids[:-LAST] if i in read] + [i for i in ids[-LAST:] if i in read & by_id]
    except Unavailable:
        return []
    finally:
        stream.close()


def test_what_was_replied_to_survives_a_power_cut(tmp_path, figure):
    """The fsync before the reply, of the log's file, of its name and of its folder's."""
    events, home = recorded(tmp_path, "power-safe"), tmp_path / ".headrace"
    cases = {"nothing": None, **{f"a part, {n}": random.Random(n) for n in range(2)}}
    for case, torn in cases.items():
        missing = lost(events, home, tmp_path / case, torn)
        figure(f"rendezvous.lost_in_a_power_cut, {case} of the unsynced kept", sum(missing.values()))
        assert not any(missing.values())
    assert segments(events) > 2


def test_a_durable_log_does_not_promise_that(tmp_path, figure):
    """The same proof finds what is lost where a reply does not wait for the disk."""
    events, home = recorded(tmp_path, "durable"), tmp_path / ".headrace"
    missing = lost(events, home, tmp_path / "cuts", None)
    figure("rendezvous.lost_in_a_power_cut, log = durable, of the worst cut", max(missing.values()))
    assert max(missing.values()) > 0
