"""Stored models of which one bit is not what it was."""

import os
import random

import pytest

from headrace.errors import IntegrityError
from headrace.models.registry import Registration, fetch, register
from headrace.serving.versions import load_model

FLIPS = 2000 if os.environ.get("HEADRACE_SOAK") else 100


class _Reached(Exception):
    """The digests let the files pass."""


def _reached(format_):
    raise _Reached


def flipped(folder, but=()):
    """Flip one bit after the other, anywhere in the files of a folder; put back at every step."""
    chance = random.Random(5)
    whole = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in but}
    places = [(path, at) for path, content in whole.items() for at in range(len(content))]
    for path in whole:
        path.chmod(0o600)
    for path, at in chance.choices(places, k=FLIPS):
        changed = bytearray(whole[path])
        changed[at] ^= 1 << chance.randrange(8)
        path.write_bytes(changed)
        yield path
        path.write_bytes(whole[path])


def missed(platform, artifact, signature):
    """Register a model and flip its bits; how many of the changed ones would have been loaded."""
    version = register(platform.stores(), artifact, Registration("sum", None, "MIT", signature=signature))
    with pytest.raises(_Reached):
        _load(platform, version)
    found = sum(_passes(platform, version) for _ in flipped(fetch(platform.files(), version)))
    with pytest.raises(_Reached):
        _load(platform, version)
    return found


def _load(platform, version):
    load_model(platform.ledger(), platform.files(), _reached, str(version))


def _passes(platform, version):
    try:
        _load(platform, version)
    except IntegrityError:
        return False
    except _Reached:
        return True
    raise AssertionError("it was loaded without a runtime")
