"""Backup and restore: the same digests and answers elsewhere, whole or not at all."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from wine_project import ROW, WineProject

from headrace.client import Client
from headrace.datasets import catalogue, contents
from headrace.datasets.put import put
from headrace.errors import IntegrityError, NotFound, Refused
from headrace.journey.backup import backup, restore
from headrace.models import aliases, registry
from headrace.models.aliases import Move, move
from headrace.placement.gateway import GATEWAY, gateway_spec
from headrace.storage.ledger import Fact


@pytest.fixture
def project(tmp_path):
    (tmp_path / "from").mkdir()
    opened = WineProject(tmp_path / "from")
    first, second = opened.register(0.5), opened.register(1.5)
    for version in (first, second):
        move(opened.platform.ledger(), "wine", Move("champion", version.version))
    opened.deploy(second)
    rows = pa.table({"id": range(1000), "x": np.arange(1000) / 7})
    pq.write_table(rows, tmp_path / "rows.parquet")
    put(opened.platform.stores(), "rows", tmp_path / "rows.parquet", licence="MIT")
    yield opened
    opened.close()


@pytest.fixture
def empty(tmp_path):
    (tmp_path / "to").mkdir()
    opened = WineProject(tmp_path / "to")
    yield opened
    opened.platform.services().stop(GATEWAY)
    opened.close()


def state(project):
    """Everything that a restored project must have alike."""
    stores = project.platform.stores()
    facts = [vars(fact) for fact in stores.ledger.query("*")]
    models = {str(v): v.digest for v in registry.versions(stores.ledger)}
    data = {str(v): v.digest for v in catalogue.versions(stores.ledger)}
    return facts, models, data, aliases.verify(stores.ledger, "wine"), stores.files.list("")


def test_a_restored_project_is_the_same_and_answers_the_same(project, empty, tmp_path):
    made = backup(project.platform.stores(), tmp_path / "all.backup")
    assert (made.facts, made.objects) == (len(state(project)[0]), len(state(project)[4]))
    assert restore(empty.platform.stores(), tmp_path / "all.backup") == made
    assert state(empty) == state(project)
    stores = empty.platform.stores()
    assert contents.table(stores, catalogue.find(stores.ledger, "rows")).collect("pyarrow").shape == (1000, 2)
    started = empty.platform.services().start(gateway_spec(empty.root, ["wine"]))
    client = Client(started.address)
    answer = client.predict("wine", rows=[ROW])
    client.close()
    assert (answer.winner, answer.values[0]) == ("wine@2", pytest.approx(project.answer(1.5), rel=1e-6))
    with pytest.raises(Refused, match="not empty"):
        restore(empty.platform.stores(), tmp_path / "all.backup")
    with pytest.raises(Refused, match="exists"):
        backup(project.platform.stores(), tmp_path / "all.backup")


def test_a_snapshot_is_consistent_while_others_write(project, empty, tmp_path):
    stop = threading.Event()

    def write():
        other, number = WineProject(project.root), 0
        while not stop.is_set():
            number += 1
            other.register(float(number + 10))
        other.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        until = time.monotonic() + 20
        while len(registry.versions(project.platform.ledger())) < 4:
            assert time.monotonic() < until
            time.sleep(0.001)
        made = backup(project.platform.stores(), tmp_path / "all.backup")
    finally:
        stop.set()
        writer.join(20)
    restore(empty.platform.stores(), tmp_path / "all.backup")
    facts = [vars(fact) for fact in empty.platform.ledger().query("*")]
    assert len(facts) == made.facts >= 8
    assert facts == [vars(fact) for fact in project.platform.ledger().query("*")][: len(facts)]
    for version in registry.versions(empty.platform.ledger()):
        registry.fetch(empty.platform.files(), version)


KILLED = """
import os, signal, sys
from pathlib import Path
from headrace.assembly import open_platform
from headrace.journey import backup
from headrace.settings import load_settings
stores = open_platform(load_settings(Path(sys.argv[1]))).stores()
left = int(sys.argv[3])
def traced(frame, event, _):
    global left
    if event == "call" and frame.f_code.co_filename.endswith(("backup.py", "files.py", "ledger.py", "manifest.py")):
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
sys.setprofile(traced)
getattr(backup, sys.argv[4])(stores, Path(sys.argv[2]))
"""


def killed(project, path, calls, verb):
    command = [sys.executable, "-c", KILLED, str(project.root), str(path), str(calls), verb]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_kill_9_at_any_moment_leaves_nothing_that_counts(project, empty, tmp_path):
    path = tmp_path / "all.backup"
    for calls in (5, 40):
        assert killed(project, path, calls, "backup").returncode == -signal.SIGKILL
        assert not path.exists()
    backup(project.platform.stores(), path)
    deaths = 0
    step = 1 if os.environ.get("HEADRACE_SOAK") else 17
    for calls in range(3, 1000, step):
        done = killed(empty, path, calls, "restore")
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        deaths += 1
        if empty.platform.ledger().query("*"):
            break  # killed after the one commit: all of it is there
        assert registry.versions(empty.platform.ledger()) == []
    assert deaths > 3
    assert state(empty) == state(project)


def test_the_command_line(project, empty, tmp_path):
    def headrace(root, *arguments):
        command = [sys.executable, "-m", "headrace", *arguments]
        return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)

    done = headrace(project.root, "backup", str(tmp_path / "b"))
    assert "objects" in done.stdout, done.stderr
    restored = headrace(empty.root, "restore", str(tmp_path / "b"), "--json")
    assert json.loads(restored.stdout)["digest"] in done.stdout
    assert state(empty) == state(project)
    assert headrace(empty.root, "restore", str(tmp_path / "b")).returncode == 3
    assert headrace(empty.root, "restore", "nothing").returncode == 5


def rewritten(source, target, change):
    """A copy of a backup whose entries went through ``change(entry, data)``."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            for name, data in change(entry, old.read(entry)):
                new.writestr(name, data)


def linked(entry, data):
    made = zipfile.ZipInfo(entry.filename)
    made.external_attr = (stat.S_IFLNK | 0o777) << 16
    return [(made if entry.filename.endswith("model.onnx") else entry, data)]


def packed(entry, data):
    made = zipfile.ZipInfo(entry.filename)
    made.compress_type = zipfile.ZIP_DEFLATED
    return [(made, data)]


def also(name):
    return lambda entry, data: [(entry, data), (name, b"x")] if entry.filename == "facts.jsonl" else [(entry, data)]


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        (linked, Refused, "or a link"),
        (packed, Refused, "is packed"),
        (also("files/../../escaped"), Refused, "not allowed"),
        (also("/etc/escaped"), Refused, "not allowed"),
        (also("files/a\\b"), Refused, "not allowed"),
        (also("files/more"), IntegrityError, "one too many"),
        (lambda e, d: [] if e.filename.endswith("model.onnx") else [(e, d)], IntegrityError, "lacks an entry"),
        (lambda e, d: [(e, d + b" ")] if e.filename == "facts.jsonl" else [(e, d)], IntegrityError, "was altered"),
    ],
    ids=["link", "packed", "escape", "absolute", "backslash", "more", "less", "altered"],
)
def test_what_is_no_backup_restores_nothing(project, empty, tmp_path, *, change, kind, said):
    backup(project.platform.stores(), tmp_path / "good")
    rewritten(tmp_path / "good", tmp_path / "bad", change)
    with pytest.raises(kind, match=said):
        restore(empty.platform.stores(), tmp_path / "bad")
    assert (empty.platform.ledger().query("*"), empty.platform.files().list("")) == ([], [])


def test_bits_cuts_and_foreign_content_are_refused(project, empty, tmp_path):
    backup(project.platform.stores(), tmp_path / "good")
    data = (tmp_path / "good").read_bytes()
    with zipfile.ZipFile(tmp_path / "good") as archive:
        entries = [archive.read(name) for name in archive.namelist()]
    for entry in entries:
        flipped = bytearray(data)
        flipped[data.index(entry) + len(entry) // 2] ^= 1
        (tmp_path / "bad").write_bytes(flipped)
        with pytest.raises((IntegrityError, Refused)):
            restore(empty.platform.stores(), tmp_path / "bad")
    (tmp_path / "bad").write_bytes(data[: len(data) // 2])
    with pytest.raises(IntegrityError):
        restore(empty.platform.stores(), tmp_path / "bad")
    with pytest.raises(NotFound):
        restore(empty.platform.stores(), tmp_path / "none")
    assert empty.platform.files().list("") == []
    empty.platform.ledger().append([Fact("alert", "x")])
    with pytest.raises(Refused, match="not empty"):
        restore(empty.platform.stores(), tmp_path / "good")


def test_a_damaged_project_is_not_backed_up(project, tmp_path):
    project.model_file(registry.find(project.platform.ledger(), "wine@1")).write_bytes(b"no model")
    with pytest.raises(IntegrityError):
        backup(project.platform.stores(), tmp_path / "b")
    assert not list(tmp_path.glob("b*"))
