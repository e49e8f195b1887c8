"""Finding pipelines and reading their parameters from the command line."""

import pytest

from headrace.assembly import open_platform
from headrace.errors import NotFound, UsageError
from headrace.sdk import ambient
from headrace.sdk.decorators import pipeline
from headrace.sdk.planning import arguments_of, find_pipeline
from headrace.settings import Settings


@pipeline
def typed(count: int, rate: float = 0.5, deep: bool = False, name: str = "", days: list[int] | None = None, any_=None):
    return None


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("3", "count", 3),
        ("-3", "count", -3),
        ("1e-3", "rate", 0.001),
        ("2", "rate", 2.0),
        ("true", "deep", True),
        ("no", "deep", False),
        ("07", "name", "07"),
        ("[1, 2]", "days", [1, 2]),
        ("null", "days", None),
        ('{"a": 1}', "any_", {"a": 1}),
        ("plain", "any_", "plain"),
    ],
)
def test_texts_are_read_by_the_annotation(text, name, value):
    found = arguments_of(typed, {"count": "1", name: text})
    assert (found[name], type(found[name])) == (value, type(value))


@pytest.mark.parametrize(("name", "text"), [("count", "x"), ("count", "1.5"), ("deep", "maybe"), ("days", "[1")])
def test_wrong_texts_say_what_is_due(name, text):
    with pytest.raises(UsageError, match=f"{name} is '{text}'".replace("[", r"\[")):
        arguments_of(typed, {"count": "1", name: text})


def test_missing_and_unknown_parameters():
    with pytest.raises(UsageError, match="needs parameter 'count' - fix: headrace run typed --param count="):
        arguments_of(typed, {})
    with pytest.raises(UsageError, match="no parameter 'counts' - fix: one of count, rate"):
        arguments_of(typed, {"counts": "1"})


def test_values_that_are_no_texts_stay():
    assert arguments_of(typed, {"count": 4, "days": [1]})["days"] == [1]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    with ambient.use(open_platform(Settings(root=tmp_path))):
        yield tmp_path


def test_pipelines_are_found_by_name(folder):
    (folder / "made_finding.py").write_text(
        "import headrace as hr\n@hr.pipeline(name='other')\ndef one():\n    return 1\n"
        "@hr.pipeline\ndef two():\n    return 2\n"
    )
    assert find_pipeline("made_finding:other").name == "other"
    assert find_pipeline("made_finding:one").name == "other"
    assert find_pipeline("made_finding:two")() == 2
    with pytest.raises(NotFound, match=r"no pipeline 'three' - .*made_finding\.py - fix: there is other, two"):
        find_pipeline("made_finding:three")
    with pytest.raises(NotFound, match="no module 'made_missing'"):
        find_pipeline("made_missing:one")


def test_an_error_inside_the_project_is_not_hidden(folder):
    (folder / "made_broken.py").write_text("import made_nothing\n")
    with pytest.raises(UsageError, match=r"made_broken.py:1 - ModuleNotFoundError: .*'made_nothing'"):
        find_pipeline("made_broken:one")
