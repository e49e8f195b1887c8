"""The token that a caller shows, and where it goes."""

import pytest

from headrace.client import Client
from headrace.client.credentials import own_token, pinned
from headrace.errors import SettingsError, UsageError

SECRET = "headrace_" + "x" * 43


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    monkeypatch.delenv("HEADRACE_TOKEN", raising=False)
    monkeypatch.delenv("HEADRACE_TOKEN_FILE", raising=False)


def test_the_environment_comes_before_a_file(monkeypatch, tmp_path):
    assert own_token() == ""
    (tmp_path / "one").write_text(f" {SECRET}1\n")
    (tmp_path / "two").write_text(f"{SECRET}2")
    monkeypatch.setenv("HEADRACE_TOKEN_FILE", str(tmp_path / "one"))
    assert own_token() == f"{SECRET}1"
    assert own_token(tmp_path / "two") == f"{SECRET}2"
    monkeypatch.setenv("HEADRACE_TOKEN", f"{SECRET}3\n")
    assert own_token(tmp_path / "two") == f"{SECRET}3"


@pytest.mark.parametrize("said", [f"{SECRET} x", f"{SECRET}\r\nx-other: 1", f"{SECRET}\u00e9", f"{SECRET}\x00", " "])
def test_what_is_no_token_is_said_without_it(monkeypatch, tmp_path, said):
    (tmp_path / "file").write_text(said)
    for ask in (lambda: own_token(tmp_path / "file"), lambda: Client("http://127.0.0.1:1", token=said)):
        with pytest.raises(SettingsError, match="that is no token") as refused:
            ask()
        assert SECRET not in str(refused.value)
    with pytest.raises(SettingsError, match="cannot be read"):
        own_token(tmp_path / "nowhere")
    (tmp_path / "file").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="it is no text"):
        own_token(tmp_path / "file")


def test_a_token_is_not_sent_to_another_host_in_the_clear(monkeypatch):
    monkeypatch.setenv("HEADRACE_TOKEN", SECRET)
    for address in ("http://models.example.org", "models.example.org:8700", "http://10.0.0.7"):
        with pytest.raises(UsageError, match="unencrypted") as refused:
            Client(address)
        assert SECRET not in str(refused.value)
        Client(address, token="")
        Client(address, unencrypted=True)
    for address in ("http://127.0.0.1:8700", "http://[::1]:8700", "localhost:8700", "https://models.example.org"):
        Client(address)


def test_a_certificate_that_is_none_is_said(tmp_path):
    (tmp_path / "cert.pem").write_text("none")
    for name in ("cert.pem", "nowhere.pem"):
        with pytest.raises(SettingsError, match=r"the certificate cannot be read - .*\.pem"):
            pinned(tmp_path / name)
