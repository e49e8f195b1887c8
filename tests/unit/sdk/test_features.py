"""``hr.materialize``: from a script as the command does it, in a run as an effect with a fixed version."""

import polars as pl
import pytest
from served import onnx_artifact

import headrace as hr
from headrace.assembly import open_platform
from headrace.datasets.put import put
from headrace.errors import NotFound, UsageError
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


def deployed(**join):
    columns = {"alt": [18.0, 13.0], "wind": [3.0, 9.0]}
    model = hr.register(
        onnx_artifact(columns, [1, 10], 7), name="delay", example=pl.DataFrame(columns), licence="CC0-1.0"
    )
    return hr.deploy(
        "delay", schedule=[(model, 20)], deadline_ms=50, default={"quality": 0.5}, join=[{"view": "airports", **join}]
    )


def test_a_deployment_that_joins_is_checked_outside_a_run_too(platform):
    """Against the views of the project, though nothing is deployed there."""
    put_airports(platform, newark=18)
    with pytest.raises(NotFound, match="no feature view 'airports'"):
        deployed()
    hr.materialize("airports", data="airports", by="faa", columns=["alt"])
    assert deployed(on=["airport"]) == "delay"
    with pytest.raises(UsageError, match=r"joins on 2 columns.*has 1: faa"):
        deployed(on=["airport", "gate"])
    assert platform.ledger().query("endpoint.deployed") == []
