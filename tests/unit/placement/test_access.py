"""Tokens: made once, kept as digests, revoked and expired; what another process does is seen at once."""

import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from headrace.errors import Conflict, NameRefused, NotFound, SettingsError, UsageError
from headrace.placement import access, tokens
from headrace.placement.access import FILE, LOOKS_LIKE_ONE, OWNER, Scope, Tokens, digest, scopes_named


def named(known):
    return {token.name: token for token in known.current()}


def test_the_owner_has_a_token_before_any_is_made(tmp_path):
    (owner,) = Tokens(tmp_path).current()
    assert (owner.name, owner.scopes, owner.expires_s) == (OWNER, {Scope.ADMIN}, None)
    assert owner.sha256 == digest(tokens.control_token(tmp_path))
    assert all(owner.allows(scope) for scope in Scope)


def test_a_made_token_is_kept_as_a_digest_in_a_private_file(tmp_path):
    before = os.umask(0)
    try:
        secret = Tokens(tmp_path).make("scraper", [Scope.READ])
    finally:
        os.umask(before)
    assert LOOKS_LIKE_ONE.fullmatch(secret)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert not any(secret.encode() in path.read_bytes() for path in tmp_path.iterdir())
    made = named(Tokens(tmp_path))["scraper"]
    assert made.sha256 == digest(secret)
    assert [scope for scope in Scope if made.allows(scope)] == [Scope.READ]


def test_what_another_process_does_is_seen_at_once(tmp_path):
    known = Tokens(tmp_path)
    known.current()
    (tmp_path / "headrace.toml").write_text('home = "."\n')
    headrace = [sys.executable, "-m", "headrace", "tokens"]
    said = subprocess.check_output([*headrace, "make", "ci", "--scope", "deploy", "-q"], cwd=tmp_path, text=True)
    assert named(known)["ci"].sha256 == digest(said.strip())
    subprocess.check_call([*headrace, "revoke", "ci", "-q"], cwd=tmp_path)
    assert list(named(known)) == [OWNER]


def test_a_token_expires(tmp_path, monkeypatch):
    known = Tokens(tmp_path)
    known.make("guest", [Scope.SCORE], for_s=60)
    guest = named(known)["guest"]
    assert not guest.expired
    monkeypatch.setattr(access.time, "time", lambda: guest.made_s + 60)
    assert guest.expired


def test_revoking_the_owners_token_makes_another(tmp_path):
    known = Tokens(tmp_path)
    before = tokens.control_token(tmp_path)
    known.current()
    known.revoke(OWNER)
    after = tokens.control_token(tmp_path)
    assert after != before
    assert named(known)[OWNER].sha256 == digest(after)
    assert stat.S_IMODE((tmp_path / tokens.NAME).stat().st_mode) == 0o600


def test_what_cannot_be_made_or_revoked_is_said(tmp_path):
    known = Tokens(tmp_path)
    known.make("one", [Scope.READ])
    for name in ("one", OWNER):
        with pytest.raises(Conflict, match="already"):
            known.make(name, [Scope.READ])
    with pytest.raises(NameRefused):
        known.make("a b", [Scope.READ])
    with pytest.raises(UsageError, match="at least one scope"):
        known.make("two", [])
    with pytest.raises(UsageError, match="expired at once"):
        known.make("two", [Scope.READ], for_s=0)
    with pytest.raises(NotFound, match="no token named 'two'"):
        known.revoke("two")
    with pytest.raises(UsageError, match=r"'all' is not a valid scope - fix: one or more of read, score, deploy"):
        scopes_named(["read", "all"])
    assert list(named(known)) == [OWNER, "one"]


def test_many_make_tokens_at_once_and_none_is_lost(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: Tokens(tmp_path).make(f"t{n}", [Scope.READ]), range(40)))
    assert len(named(Tokens(tmp_path))) == 41


def test_a_file_that_others_can_read_or_that_says_nothing_is_refused(tmp_path):
    known = Tokens(tmp_path)
    known.make("one", [Scope.READ])
    (tmp_path / FILE).chmod(0o644)
    with pytest.raises(SettingsError, match="not private"):
        known.current()
    (tmp_path / FILE).chmod(0o600)
    assert set(named(known)) == {OWNER, "one"}
    for text in ("{", "{}", '{"tokens": [{}]}', '{"tokens": 1}', json.dumps({"tokens": [{"name": "x"}]})):
        (tmp_path / FILE).write_text(text)
        with pytest.raises(SettingsError, match="cannot be read"):
            known.current()


def test_two_who_look_at_once_leave_no_revoked_token_behind(tmp_path, monkeypatch):
    """One reads the file before a token is revoked and is held up; the other reads it after, and notes that it has."""
    known, others = Tokens(tmp_path), Tokens(tmp_path)
    known.make("guest", [Scope.SCORE])
    read, held = Tokens._kept, []

    def slowly(tokens):
        found = read(tokens)
        if tokens is known and not held:
            held.append(True)
            others.revoke("guest")
            known.current()
        return found

    monkeypatch.setattr(Tokens, "_kept", slowly)
    known.current()
    assert list(named(known)) == [OWNER]


def test_a_revoked_token_does_not_come_back_with_the_power(tmp_path, monkeypatch):
    """Its folder is synced once the file without it has the name: else a power cut leaves the one before."""
    known = Tokens(tmp_path)
    known.make("guest", [Scope.SCORE])
    synced, sync = [], os.fsync

    def noted(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            synced.append(b"guest" in (tmp_path / FILE).read_bytes())
        sync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    known.revoke("guest")
    assert synced[-1:] == [False]
