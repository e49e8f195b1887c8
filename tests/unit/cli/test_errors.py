"""What a command line says that cannot be read: as every other error, what - fix."""

import json

import pytest

from headrace.cli import main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serving", "ls", "--nope"], "no such option '--nope' - fix: headrace serving ls --help says what is allowed"),
        (["serving", "split"], "missing argument 'ENDPOINT' - fix: headrace serving split --help"),
        (
            ["serving", "ab", "late", "--alpha", "high"],
            "invalid value for '--alpha': 'high' is not a valid float - fix:",
        ),
        (["servng"], "no such command 'servng'. Did you mean 'serving'? - fix: headrace --help"),
    ],
)
def test_a_wrong_call_is_said_as_every_other_error(arguments, said, capsys):
    with pytest.raises(SystemExit) as done:
        main(arguments)
    assert done.value.code == 2
    told = capsys.readouterr()
    assert told.err.startswith(f"error [usage] {said}")
    assert told.out == ""
    assert len(told.err.strip().splitlines()) == 1


def test_a_wrong_call_is_json_where_that_was_asked_for(capsys):
    with pytest.raises(SystemExit):
        main(["serving", "ls", "--nope", "--json"])
    error = json.loads(capsys.readouterr().err)["error"]
    assert (error["code"], error["what"]) == ("usage", "no such option '--nope'")


def test_what_is_no_id_of_a_prediction_is_said_to_be_none(tmp_path, monkeypatch, capsys):
    (tmp_path / "headrace.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as done:
        main(["serving", "explain", "abc"])
    assert done.value.code == 2
    said = capsys.readouterr().err
    assert "'abc' is no id of a prediction - it is not a UUIDv7 - fix: copy it from the header x-headrace-id" in said
    assert "runs" not in said
