"""A log in segments, opened as several processes would."""

import pytest

from headrace.engines.local.stream import LocalStream


@pytest.fixture
def opened(tmp_path, request):
    """Opens the same streams as often as is asked, usually with the module's ``ROLL``."""
    every = []

    def one_more(roll=None):
        every.append(LocalStream(tmp_path, roll or request.module.ROLL))
        return every[-1]

    yield one_more
    for stream in every:
        stream.close()


@pytest.fixture
def folder(tmp_path):
    """Where the topic ``t`` lies."""
    return tmp_path / "t"
