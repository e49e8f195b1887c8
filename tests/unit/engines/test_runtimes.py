"""A runtime whose vendor's package is missing says which extra brings it, before a worker is started."""

import importlib.util

import pytest

from headrace.assembly import factory
from headrace.errors import MissingExtra
from headrace.settings import Settings

FIND = importlib.util.find_spec


PACKAGES = {"keras": "keras", "litert": "ai-edge-litert", "skops": "skops", "torch": "torch"}


@pytest.mark.parametrize("name", PACKAGES)
def test_a_missing_extra_is_named_with_what_brings_it(name, tmp_path, monkeypatch):
    gone = PACKAGES[name].replace("-", "_")
    monkeypatch.setattr(importlib.util, "find_spec", lambda found, *more: None if found == gone else FIND(found, *more))
    with pytest.raises(MissingExtra, match=rf"'{name}' needs {PACKAGES[name]}.*pip install 'headrace\[{name}\]'"):
        factory(f"runtime.{name}")(Settings(root=tmp_path), name)
