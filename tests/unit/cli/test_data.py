"""``headrace data``: what it prints, and how it exits."""

import json

import pytest

from headrace.cli import main

ORDERS = "id,customer,amount,note\n" + "".join(f"{i},c{i % 5},{i / 2},{'NA' if i % 2 else 'x'}\n" for i in range(40))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with two data files; returns a function that runs the CLI there: exit code, stdout, stderr."""
    (tmp_path / "headrace.toml").write_text('[contract.orders]\nreferences = { customer = "customers.name" }\n')
    (tmp_path / "orders.csv").write_text(ORDERS)
    (tmp_path / "customers.csv").write_text("name,city\nc0,Ulm\nc1,Bonn\nc2,Ulm\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(project, capsys):
    def call(*args):
        with pytest.raises(SystemExit) as done:
            main(["data", *args])
        said = capsys.readouterr()
        return done.value.code, said.out, said.err

    return call


def test_put_and_list(run):
    code, out, err = run("put", "customers.csv", "orders.csv", "--licence", "CC0-1.0")
    assert code == 0
    assert out.splitlines()[0].split() == ["DATASET", "VERSION", "ROWS", "COLUMNS", "LICENCE", "DIGEST"]
    assert "'NA' is a text in note" in err
    assert "--null NA --new-contract" in err
    code, out, _ = run("ls", "--json")
    rows = json.loads(out)
    assert [(r["dataset"], r["version"], r["rows"], r["licence"]) for r in rows] == [
        ("customers", 1, 3, "CC0-1.0"),
        ("orders", 1, 40, "CC0-1.0"),
    ]
    assert run("put", "orders.csv", "--json")[0] == 0
    assert json.loads(run("ls", "--json")[1]) == rows


def test_show_and_profile(run):
    run("put", "orders.csv", "--null", "NA", "--name", "sales", "-q")
    shown = json.loads(run("show", "sales", "--json")[1])
    assert shown["schema"] == {"id": "Int64", "customer": "String", "amount": "Float64", "note": "String"}
    assert shown["contract"]["id"]["unique"] is True
    assert [v["version"] for v in shown["versions"]] == [1]
    assert "amount" in run("show", "sales@1")[1]
    profile = json.loads(run("profile", "sales", "--json")[1])
    assert profile["columns"]["note"]["nulls"] == 20
    assert "c0 (8)" in run("profile", "sales")[1]


def test_show_is_readable(run, project):
    (project / "visits.csv").write_text("at,day,page\n2024-01-01T10:00:00Z,2024-01-01 10:00:00,a\n,,b\n")
    run("put", "visits.csv")
    out = run("show", "visits")[1]
    rows = [line.split() for line in out.splitlines()[3:7]]
    assert rows[0][:3] == ["COLUMN", "DTYPE", "NULLS"]
    assert "RANGE" not in rows[0]  # no column has one
    assert rows[1][:3] == ["at", "Datetime", "UTC"]
    assert "time_unit" not in out + run("profile", "visits")[1]
    run("put", "orders.csv")
    assert "KEY unique: no value stood twice" in run("show", "orders")[2]


def test_check_tells_dirt_from_refusal(run, project):
    run("put", "customers.csv", "orders.csv")
    code, out, _ = run("check")
    assert code == 0
    assert "16 rows (40.0%) whose 'customer' is not in customers.name" in out
    with (project / "headrace.toml").open("a") as settings:
        settings.write("max_unmatched = { customer = 0.1 }\n")
    code, out, _ = run("check", "orders", "--json")
    assert code == 3
    assert json.loads(out)["ok"] is False


def test_a_put_that_breaks_the_contract_exits_3(run, project):
    run("put", "orders.csv")
    (project / "orders.csv").write_text("id,customer\n1,c1\n")
    code, out, err = run("put", "orders.csv")
    assert (code, out) == (3, "")
    assert "[data-refused]" in err
    assert "'amount' is missing" in err
    assert run("put", "orders.csv", "--new-contract")[0] == 0


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("show", "order"), 5, "did you mean 'orders'"),
        (("put", "absent.csv"), 5, "no such file"),
        (("put", "orders.csv", "customers.csv", "--name", "x"), 2, "one by one"),
        (("check", "a/b"), 2, "not allowed"),
    ],
)
def test_mistakes_are_named(run, args, code, said):
    run("put", "orders.csv")
    got, _, err = run(*args)
    assert (got, said in err) == (code, True)


def test_an_unknown_statement_names_the_nearest(run, project):
    (project / "headrace.toml").write_text('[contract.orders]\nrequird = ["id"]\n')
    code, _, err = run("put", "orders.csv")
    assert code == 2
    assert "did you mean 'required'" in err
