"""``hr.materialize``: from a script as the command does it, in a run as an effect with a fixed version."""

import pytest

import headrace as hr
from headrace.assembly import open_platform
from headrace.datasets.put import put
from headrace.sdk import ambient
from headrace.sdk.running import Request, run
from headrace.settings import Settings

PIPELINE = """
import headrace as hr

@hr.gate
def allowed(most: int) -> None:
    assert most > 1

@hr.pipeline
def nightly(most: int = 5):
    allowed(most)
    return hr.materialize("airports", data="airports", by="faa", columns=["alt"])
"""


@pytest.fixture
def platform(tmp_path, monkeypatch):
    opened = open_platform(Settings(root=tmp_path, workers=1))
    (tmp_path / "nightly.py").write_text(PIPELINE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with ambient.use(opened):
        yield opened
    opened.close()


def put_airports(platform, *, newark):
    path = platform.settings.root / "airports.csv"
    path.write_text(f"faa,alt,name\nEWR,{newark},Newark\nJFK,13,Kennedy\n")
    put(platform.stores(), "airports", path)


def altitude(platform):
    return platform.online().read("airports", [("EWR",)]).rows[0]


def test_a_script_materializes_as_the_command_does(platform):
    put_airports(platform, newark=18)
    version = hr.materialize("airports", data="airports", by=["faa"])
    assert version == platform.online().read("airports", ()).view.version
    assert altitude(platform) == (18, "Newark")


def test_in_a_run_it_is_an_effect(platform):
    put_airports(platform, newark=18)
    assert run(Request("nightly:nightly", {"most": 1})).exit_code == 3
    assert not list((platform.home / "online").glob("*.sqlite"))
    assert run(Request("nightly:nightly")).exit_code == 0
    assert altitude(platform) == (18,)
    again = {step.name: step.state for step in run(Request("nightly:nightly")).steps}
    assert again["materialize"] == "cached"
    put_airports(platform, newark=19)
    assert run(Request("nightly:nightly")).exit_code == 0
    assert altitude(platform) == (19,)
