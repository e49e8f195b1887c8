"""Local copies: bounded, whole, and never taken from who uses them."""

import errno
import fcntl
import hashlib
import os
import secrets
import subprocess
import sys

import pytest

from headrace.engines.fsspec.cache import Cache
from headrace.engines.fsspec.remote import Stat
from headrace.errors import NameRefused, Unavailable

KIB = 1 << 10


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "copies", 10 * KIB)


def copy(cache, key, size=KIB, *, keep=None):
    """A copy of ``size`` bytes, as it is made of a fetched object."""
    content = os.urandom(size)
    if keep is not None:
        cache.use(key, keep=keep)
    version = Stat(key, size, hashlib.sha256(content).hexdigest())
    with cache.half(size) as half:
        half.write(content)
        cache.install(half, key, version)
    return version


def there(cache):
    return sorted(path.name for path in cache.path("x").parent.rglob("*") if path.is_file())


def test_what_was_used_longest_ago_goes_first(cache):
    for number in range(10):
        version = copy(cache, f"{number}")
        os.utime(cache._known / f"{number}", (number, number))
        if number == 0:
            first = version
    assert cache.use("0", keep=False)
    assert cache.whole("0", first)  # used now
    copy(cache, "new", 2 * KIB)
    assert there(cache) == ["0", *"3456789", "new"]


def test_what_was_given_stays(cache):
    for number in range(9):
        copy(cache, f"{number}", keep=True)
    copy(cache, "large", 20 * KIB)
    assert there(cache) == [*"012345678", "large"]
    cache.close()
    copy(cache, "small")
    assert there(cache) == ["small"]


def test_who_reads_much_and_keeps_nothing_stays_within_the_bound(cache):
    most = 0
    for number in range(50):
        copy(cache, f"{number}", keep=False)
        most = max(most, len(there(cache)))
    assert "49" in there(cache)
    assert 5 <= most <= 10


def test_another_process_keeps_what_it_was_given_until_it_dies(cache, tmp_path):
    version = copy(cache, "theirs")
    program = f"""
import sys
from pathlib import Path
from headrace.engines.fsspec.cache import Cache
cache = Cache(Path({str(tmp_path / "copies")!r}), {10 * KIB})
assert cache.whole("theirs", cache.use("theirs", keep=True))
print("has it", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"has it\n"
        for number in range(20):
            copy(cache, f"{number}")
        assert cache.whole("theirs", version)
        other.kill()
        other.wait()
    for number in range(20):
        copy(cache, f"{number}")
    assert "theirs" not in there(cache)
    assert len(list((tmp_path / "copies" / "users").iterdir())) == 0


def test_a_copy_that_changed_is_not_whole(cache):
    version = copy(cache, "a/b")
    path = cache.path("a/b")
    assert cache.whole("a/b", version)
    flipped = bytearray(path.read_bytes())
    flipped[500] ^= 1
    path.write_bytes(flipped)
    assert not cache.whole("a/b", version)


def test_what_the_store_has_not_goes_from_the_folder(cache):
    for key in ("m/1/a", "m/1/b", "m/2/a"):
        copy(cache, key)
    later = (cache._known / "m/2/a").stat().st_mtime + 1
    cache.forget_all_but({"m/1/a"}, "m/1/", later)
    assert not cache.path("m/1/b").exists()
    assert there(cache) == ["a", "a"]
    cache.forget_all_but(set(), "m/", later - 100)  # copied after the store was asked
    assert there(cache) == ["a", "a"]
    cache.forget_all_but(set(), "m/", later)
    assert not cache.path("m/1").exists()


def test_what_a_killed_process_was_making_goes(cache, tmp_path):
    (tmp_path / "copies" / "halves" / "left").write_bytes(b"x" * KIB)
    with cache.half(KIB):  # its own is not taken for one
        cache.make_room(20 * KIB)
        assert len(list((tmp_path / "copies" / "halves").iterdir())) == 1
    assert list((tmp_path / "copies" / "halves").iterdir()) == []


def test_a_full_disk_takes_all_that_is_in_no_use_and_then_says_so(cache, monkeypatch):
    for number in range(3):
        copy(cache, f"{number}")
    full = []

    def reserve(handle, begin, size):
        full.append(there(cache))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", reserve)
    with pytest.raises(Unavailable, match=r"No space left.*store_cache_mb"), cache.half(KIB):
        pass
    assert full == [["0", "1", "2"], []]


@pytest.mark.parametrize("key", ["", ".", "a/", "a//b", "./a", "/a", "../a"])
def test_a_key_has_one_path(cache, key):
    with pytest.raises(NameRefused):
        cache.path(key)


def test_what_is_being_made_is_locked_before_anybody_clears_away(cache, monkeypatch):
    tried = []

    def named(_count):
        with (cache._root / "lock").open("ab") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        tried.append("half")
        return "half"

    monkeypatch.setattr(secrets, "token_hex", named)
    with cache.half(KIB):
        assert tried == ["half"]


def full(*_about, **_named):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("keep", [True, False])
def test_a_full_disk_forgets_nobody_who_uses_a_copy(cache, monkeypatch, keep):
    copy(cache, "a")
    with monkeypatch.context() as disk:
        disk.setattr(os, "write", full)
        with pytest.raises(Unavailable, match="store_cache_mb"):
            cache.use("a", keep=keep)
    assert cache.use("a", keep=keep)
    assert cache._leases.used() == {"a"}


def test_what_nothing_can_be_said_of_is_no_copy(cache, monkeypatch):
    with monkeypatch.context() as disk:
        disk.setattr(type(cache.path("a")), "write_bytes", full)
        with pytest.raises(Unavailable):
            copy(cache, "a")
    assert there(cache) == []
