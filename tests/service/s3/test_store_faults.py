"""A real store of the S3 protocol that is killed and frozen, writers that are killed, copies that are damaged."""

import hashlib
import os
import subprocess
import sys
import threading
import time

import pytest
from s3_store import BUCKET
from server_process import until

from headrace.engines.fsspec.address import Address
from headrace.engines.fsspec.files import RemoteFiles
from headrace.engines.fsspec.s3 import PART_BYTES, S3, Patience
from headrace.errors import IntegrityError, NotFound, RunFailed, SettingsError, Unauthorized, Unavailable
from headrace.storage import manifest

pytestmark = pytest.mark.service

USUAL = Patience()
SHORT = Patience(connect_s=1, silent_s=1, call_s=2, hurry_s=1, part_s=3)
LARGE = 3 * PART_BYTES + 12345


@pytest.fixture(scope="module")
def uri(started_s3):
    return started_s3.uri()


@pytest.fixture
def host(s3, uri, tmp_path):
    """Opens the store as if on a host of its own."""
    opened = []

    def open_one(at=uri, patience=USUAL):
        opened.append(RemoteFiles(S3(Address.parse(at), patience), tmp_path / f"host-{len(opened)}", 1 << 30))
        return opened[-1]

    yield open_one
    for files in opened:
        files.close()


@pytest.fixture
def put(tmp_path):
    def put_one(files, key, content):
        source = tmp_path / "source"
        source.write_bytes(content)
        files.put(source, key)

    return put_one


def uploads(s3, uri):
    """Uploads in parts that are under way below this address."""
    prefix = Address.parse(uri).prefix
    found = s3.seen().call_s3("list_multipart_uploads", Bucket=BUCKET, Prefix=prefix)
    return [upload["Key"] for upload in found.get("Uploads", ())]


def test_another_host_reads_what_was_put_in_parts(host, put):
    content = os.urandom(LARGE)
    put(host(), "large", content)
    assert host().get("large").read_bytes() == content


def test_what_other_hosts_do_is_seen_at_once(host, put):
    here, there = host(), host()
    put(here, "key", b"first")
    assert there.get("key").read_bytes() == b"first"
    put(here, "key", b"other")  # of the same size
    assert there.get("key").read_bytes() == b"other"
    here.delete("key")
    with pytest.raises(NotFound):
        there.get("key")


def test_objects_that_other_tools_put(host, s3, uri):
    s3.seen().pipe(f"{uri}/tool/a", b"content")
    s3.seen().pipe(f"{uri}/tool/b/", b"")  # how some say that there is a folder
    files = host()
    assert files.get("tool/a").read_bytes() == b"content"
    assert files.list("tool/") == ["tool/a"]


def test_an_object_that_is_not_what_was_put(host, s3, uri):
    s3.seen().pipe(f"{uri}/wrong", b"content", Metadata={"sha256": hashlib.sha256(b"other").hexdigest()})
    with pytest.raises(IntegrityError, match="not the one that was put"):
        host().get("wrong")


def test_a_damaged_copy_is_fetched_again(host, put, tmp_path):
    files = host()
    folder = tmp_path / "folder"
    folder.mkdir()
    content = os.urandom(100_000)
    (folder / "model.bin").write_bytes(content)
    stored = manifest.store(files, folder, "models/a")
    copy = manifest.fetch(files, "models/a", stored.digest) / "model.bin"
    flipped = bytearray(content)
    flipped[50_000] ^= 1
    copy.write_bytes(flipped)
    assert (manifest.fetch(files, "models/a", stored.digest) / "model.bin").read_bytes() == content


def test_a_source_that_shrinks_is_not_put(host, s3, uri, put, tmp_path):
    files = host()
    put(files, "shrinks", b"old")
    (tmp_path / "short").write_bytes(bytes(LARGE - 1))
    with pytest.raises(RunFailed, match="changed while it was put"):
        files._remote.write(tmp_path / "short", "shrinks", LARGE, "0" * 64)
    assert uploads(s3, uri) == []
    assert host().get("shrinks").read_bytes() == b"old"


def test_lists_of_more_than_a_page(host, s3, uri):
    s3.seen().pipe({f"{uri}/many/{number:04}": b"x" for number in range(1005)})
    assert host().list("many/") == [f"many/{number:04}" for number in range(1005)]


def test_a_writer_that_is_killed_leaves_the_old_object(host, s3, uri, put, tmp_path):
    put(host(), "killed", b"old")
    (tmp_path / "large").write_bytes(bytes(8 * PART_BYTES))
    program = f"""
from pathlib import Path
from headrace.engines.fsspec.files import open_files
from headrace.settings import Settings
open_files(Settings(root=Path({str(tmp_path / "writer")!r})), {uri!r}).put(Path({str(tmp_path / "large")!r}), "killed")
"""
    with subprocess.Popen([sys.executable, "-c", program]) as writer:
        until(lambda: uploads(s3, uri))
        writer.kill()
        assert writer.wait() != 0, "it had put it already"
    files = host()
    assert files.get("killed").read_bytes() == b"old"
    assert files.list("killed") == ["killed"]
    put(files, "killed", b"new")
    assert host().get("killed").read_bytes() == b"new"


def bounded(within_s, call):
    """What a call that must fail says, and that it does so in time."""
    begun = time.monotonic()
    with pytest.raises(Unavailable) as failed:
        call()
    assert time.monotonic() - begun < within_s
    assert "AWS_ENDPOINT_URL" in failed.value.fix
    return failed.value


def test_a_store_that_freezes_while_it_is_written_and_read(host, s3, uri, put, tmp_path):
    here, there, other = (host(patience=SHORT) for _ in range(3))
    content = os.urandom(LARGE)
    put(here, "frozen", content)
    assert there.get("frozen").read_bytes() == content
    new = tmp_path / "new"
    new.write_bytes(os.urandom(8 * PART_BYTES))
    said = []

    def write():
        said.append(bounded(20, lambda: here.put(new, "frozen")))

    writer = threading.Thread(target=write)
    writer.start()
    until(lambda: uploads(s3, uri))
    s3.freeze()
    try:
        begun = time.monotonic()
        assert there.get("frozen").read_bytes() == content
        assert time.monotonic() - begun < 5
        assert "does not answer" in str(bounded(15, lambda: other.get("frozen")))
        writer.join(30)
    finally:
        s3.thaw()
    assert len(said) == 1
    assert host().get("frozen").read_bytes() == content
    here.put(new, "frozen")
    assert host().get("frozen").read_bytes() == new.read_bytes()


def test_a_store_that_is_killed_loses_nothing_that_it_had(host, s3, put):
    here, there = host(), host(patience=SHORT)
    content = os.urandom(LARGE)
    put(here, "kept", content)
    put(here, "small", b"small")
    assert there.get("small").read_bytes() == b"small"
    s3.kill()
    try:
        assert there.get("small").read_bytes() == b"small"  # a copy
        bounded(5, lambda: there.get("kept"))
        bounded(5, lambda: there.list(""))
        bounded(15, lambda: put(here, "other", b"x"))
    finally:
        s3.start()
    files = host()
    assert files.get("kept").read_bytes() == content
    assert "other" not in files.list("")


def test_processes_that_share_copies(s3, uri, put, host, tmp_path):
    contents = {f"shared/{number}": os.urandom(300_000) for number in range(20)}
    files = host()
    for key, content in contents.items():
        put(files, key, content)
    due = {key: hashlib.sha256(content).hexdigest() for key, content in contents.items()}
    program = f"""
import hashlib, random
from pathlib import Path
from headrace.engines.fsspec.files import open_files
from headrace.settings import Settings
files = open_files(Settings(root=Path({str(tmp_path)!r}), store_cache_mb=1), {uri!r})  # three of twenty have room
due = {due!r}
for key in random.sample(sorted(due), len(due)):
    assert hashlib.sha256(files.get(key, keep=False).read_bytes()).hexdigest() == due[key], key
"""
    readers = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(2)]
    assert [reader.wait(60) for reader in readers] == [0, 0]
    copies = [path for path in (tmp_path / ".headrace/cache/store").rglob("objects/**/*") if path.is_file()]
    assert 0 < sum(path.stat().st_size for path in copies) <= 2 << 20


@pytest.mark.parametrize(
    ("variables", "address", "said"),
    [
        ({}, "s3://no-such-bucket/x", (SettingsError, "no such bucket")),
        ({"AWS_SECRET_ACCESS_KEY": "hush-hush"}, "", (Unauthorized, "does not let us")),
        ({"AWS_PROFILE": "none"}, "", (Unauthorized, "AWS_PROFILE")),
        ({"AWS_ENDPOINT_URL": "http://user:hush@127.0.0.1:9"}, "", (Unavailable, "cannot be reached")),
        ({"AWS_ENDPOINT_URL": "127.0.0.1"}, "", (SettingsError, "AWS_ENDPOINT_URL")),
    ],
)
def test_what_is_wrong_is_said_without_secrets(host, uri, monkeypatch, variables, address, said):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    files = host(address or uri)
    for call in (lambda: files.get("key"), lambda: files.list("")):
        with pytest.raises(said[0], match=said[1]) as refused:
            call()
        assert "hush" not in str(refused.value)
        assert refused.value.where
        assert refused.value.fix
