import pytest

from headrace import cli


def test_ctrl_c_while_a_library_starts_is_ctrl_c(monkeypatch, capsys):
    def main(**_):
        raise ImportError("initialization failed") from KeyboardInterrupt()

    monkeypatch.setattr(cli.cli, "main", main)
    with pytest.raises(SystemExit) as ended:
        cli.main([])
    assert (ended.value.code, capsys.readouterr().err) == (130, "stopped\n")


def test_a_library_that_is_broken_is_not(monkeypatch):
    def main(**_):
        raise ImportError("no such library")

    monkeypatch.setattr(cli.cli, "main", main)
    with pytest.raises(ImportError, match="no such library"):
        cli.main([])
