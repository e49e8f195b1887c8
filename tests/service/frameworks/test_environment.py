"""The environment that these tests run in: what frameworks.txt and the lock name, and no other version of anything."""

from importlib.metadata import distributions
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.service

HERE = Path(__file__).parent
PINS = ("tests/service/frameworks/frameworks.txt", "constraints.txt")


def _pinned(path):
    lines = (line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines())
    needed = [Requirement(line) for line in lines if line]
    return {canonicalize_name(n.name): n for n in needed if n.marker is None or n.marker.evaluate()}


@pytest.fixture(scope="module")
def installed():
    """Each distribution's version, the first on the path as Python imports it."""
    found = {}
    for one in distributions():
        found.setdefault(canonicalize_name(one.name), one.version)
    return found


@pytest.mark.parametrize("pins", PINS)
def test_what_is_imported_is_what_is_pinned(pins, installed):
    pinned = _pinned(HERE.parents[2] / pins)
    assert len(pinned) > 20
    assert {
        name: installed.get(name) for name in pinned if not pinned[name].specifier.contains(installed.get(name, "0"))
    } == {}


def test_nothing_of_cuda_came_along(installed):
    assert torch.version.cuda is None
    assert [name for name in installed if name.startswith("nvidia")] == []
