"""``headrace features``: what it prints, and how it exits."""

import json

import pytest

from headrace.cli import main

WEATHER = "origin,hour,wind\nEWR,1,10.5\nEWR,2,3.5\nJFK,1,8.25\n"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weather.csv").write_text(WEATHER)

    def call(*args):
        with pytest.raises(SystemExit) as done:
            main(list(args))
        said = capsys.readouterr()
        return done.value.code, said.out, said.err

    assert call("data", "put", "weather.csv", "-q")[0] == 0
    return call


def test_materialize_list_and_show(run, tmp_path):
    code, out, _ = run("features", "ls")
    assert (code, len(out.splitlines())) == (0, 1)
    asked = ("features", "materialize", "wind", "--from", "weather", "--by", "origin", "--event-time", "hour", "--json")
    code, out, _ = run(*asked)
    (row,) = json.loads(out)
    assert code == 0
    assert {name: row[name] for name in ("view", "online", "keys", "features", "rows", "dataset")} == {
        "view": "wind",
        "online": "yes",
        "keys": "origin",
        "features": 1,
        "rows": 2,
        "dataset": "weather@1",
    }
    assert json.loads(run("features", "ls", "--json")[1])[0]["version"] == row["version"]
    shown = json.loads(run("features", "show", "wind", "--json")[1])
    assert (shown["keys"], shown["columns"]) == ({"origin": "string"}, {"wind": "float64"})
    assert shown["online"] == shown["version"]
    assert "wind    feature  float64" in run("features", "show", "wind")[1]
    next((tmp_path / ".headrace" / "online").glob("*.sqlite")).unlink()
    assert json.loads(run("features", "ls", "--json")[1])[0]["online"] is None
    assert "online none" in run("features", "show", "wind")[1]


def test_what_is_refused(run):
    code, _, err = run("features", "materialize", "wind", "--from", "weather", "--by", "origin")
    assert code == 2
    assert "origin 'EWR' has 2 rows" in err
    assert "--event-time" in err
    assert run("features", "show", "wind")[0] == 5
    assert run("features", "materialize", "wind", "--from", "nothing", "--by", "origin")[0] == 5
