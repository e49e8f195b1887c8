"""A runtime whose vendor's package is missing says which extra brings it, before a worker is started."""

import importlib.util

import pytest

from headrace.assembly import factory
from headrace.errors import MissingExtra
from headrace.settings import Settings

FIND = importlib.util.find_spec


@pytest.mark.parametrize("name", ["keras", "skops", "torch"])
def test_a_missing_extra_is_named_with_what_brings_it(name, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda found, *more: None if found == name else FIND(found, *more))
    with pytest.raises(MissingExtra, match=rf"engine '{name}' needs {name}.*pip install 'headrace\[{name}\]'"):
        factory(f"runtime.{name}")(Settings(root=tmp_path), name)
