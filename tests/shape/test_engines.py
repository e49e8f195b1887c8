"""Engines enter by entry points, one folder and one extra each, and pass the published conformance suite of their port."""

import importlib
import inspect
import tomllib
from pathlib import Path

import pytest

PROJECT = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
ENTRY_POINTS = PROJECT["entry-points"]["headrace.engines"]
NOT_ENGINES = {"terminal", "demo", "docs", "dev", "grpc"}


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_an_entry_point_is_a_factory(name):
    module, _, attribute = ENTRY_POINTS[name].partition(":")
    factory = getattr(importlib.import_module(module), attribute)
    assert len(inspect.signature(factory).parameters) == 2
    assert inspect.getdoc(factory)


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_an_engine_passes_its_ports_conformance_suite(name, root):
    port = name.partition(".")[0]
    module = ENTRY_POINTS[name].partition(":")[0]
    assert (root / f"src/headrace/conformance/{port}.py").is_file(), "the port has no published suite"
    folders = (root / "tests/conformance" / port, root / "tests/service/frameworks")
    tests = [path.read_text("utf-8") for folder in folders for path in folder.glob("test_*.py")]
    assert any(module in text and f"headrace.conformance.{port}" in text for text in tests), (
        f"no test runs it on {module}"
    )


def test_one_folder_is_one_extra(root):
    folders = {path.parent.name for path in (root / "src/headrace/engines").glob("*/__init__.py")}
    assert folders == set(PROJECT["optional-dependencies"]) - NOT_ENGINES


def test_installed_entry_points_are_those_of_the_project():
    from importlib.metadata import entry_points

    assert {e.name: e.value for e in entry_points(group="headrace.engines")} == ENTRY_POINTS, "make setup installs anew"
