"""``headrace tokens``: what it prints, what it keeps, and how it exits."""

import json
import stat

import pytest

from headrace.cli import main
from headrace.placement.access import FILE, LOOKS_LIKE_ONE


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a command of a project's; return exit code, stdout and stderr."""
    (tmp_path / "headrace.toml").write_text("")
    monkeypatch.chdir(tmp_path)

    def call(*args):
        with pytest.raises(SystemExit) as done:
            main(["tokens", *args])
        said = capsys.readouterr()
        return done.value.code, said.out, said.err

    return call


def rows(run):
    code, out, _ = run("ls", "--json")
    assert code == 0
    return {row["name"]: row for row in json.loads(out)}


def test_a_token_is_printed_once(run, tmp_path):
    code, out, err = run("make", "ci", "--scope", "deploy", "--scope", "read", "--expires", "90d")
    assert (code, bool(LOOKS_LIKE_ONE.fullmatch(out.strip()))) == (0, True)
    assert "only time that it is shown" in err
    assert out.strip() not in (tmp_path / ".headrace" / FILE).read_text() + str(run("ls", "--json"))
    assert rows(run)["ci"] == {**rows(run)["ci"], "scopes": "deploy read", "state": "good"}
    assert rows(run)["control"]["expires"] == "never"
    code, out, _ = run("make", "other", "--scope", "read", "--json")
    assert LOOKS_LIKE_ONE.fullmatch(json.loads(out)["token"])


def test_a_token_goes_to_a_private_file_instead(run, tmp_path):
    code, out, err = run("make", "ci", "--scope", "deploy", "--to", "ci.token")
    assert (code, out) == (0, "ci.token\n")
    secret = (tmp_path / "ci.token").read_text().strip()
    assert LOOKS_LIKE_ONE.fullmatch(secret)
    assert stat.S_IMODE((tmp_path / "ci.token").stat().st_mode) == 0o600
    assert secret not in out + err
    code, _, err = run("make", "again", "--scope", "deploy", "--to", "ci.token")
    assert (code, "is there already" in err, "again" in rows(run)) == (1, True, False)


def test_a_token_that_cannot_be_written_is_none(run, tmp_path):
    """Nobody saw it, and its name is free."""
    code, out, err = run("make", "ci", "--scope", "deploy", "--to", "missing/ci.token")
    assert (code, out, "missing/ci.token" in err, "is revoked" in err) == (2, "", True, True)
    assert list(rows(run)) == ["control"]
    assert run("make", "ci", "--scope", "deploy", "--to", "ci.token")[0] == 0


def test_what_is_wrong_is_said(run):
    assert run("make", "ci")[0] == 2
    code, _, err = run("make", "ci", "--scope", "write")
    assert (code, "one or more of read, score, deploy, admin" in err) == (2, True)
    assert run("make", "ci", "--scope", "read", "--expires", "soon")[0] == 2
    assert run("make", "control", "--scope", "read")[0] == 1
    assert run("revoke", "nobody")[0] == 5
    assert list(rows(run)) == ["control"]


def test_a_revoked_token_is_gone(run):
    run("make", "ci", "--scope", "deploy")
    assert run("revoke", "ci")[:2] == (0, "ci is revoked\n")
    assert list(rows(run)) == ["control"]
