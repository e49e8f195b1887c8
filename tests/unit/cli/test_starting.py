"""Whoever starts a gateway waits for its models as long as they take, and is told what is not served."""

from types import SimpleNamespace

import pytest

from headrace.cli import starting
from headrace.cli.output import Output
from headrace.cli.starting import settled
from headrace.errors import Unavailable


def _overview(**states):
    return SimpleNamespace(endpoints=[SimpleNamespace(name=n, state=s, why=f"{n} broke") for n, s in states.items()])


class _Gateway:
    """Says one overview after the other, the last for ever; None while it is away."""

    def __init__(self, *overviews, ready=True):
        self._said, self._ready, self.looks = list(overviews), ready, 0

    def overview(self):
        self.looks += 1
        said = self._said.pop(0) if len(self._said) > 1 else self._said[0]
        if said is None:
            raise Unavailable("it is away")
        return said

    def ready(self):
        return self._ready


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(starting, "_LOOK_S", 0.0)
    monkeypatch.setattr(starting, "_UNSEEN_S", 60.0)


def _never():
    raise AssertionError("it was not away")


def _names(failed):
    return [one.name for one in failed]


def test_every_model_is_waited_for():
    gateway = _Gateway(
        _overview(),
        _overview(a="serving"),
        _overview(a="serving", b="loading"),
        _overview(a="serving", b="serving"),
    )
    assert settled(Output(), gateway, {"a", "b"}, _never) == []
    assert gateway.looks == 4


def test_what_is_not_served_is_told():
    gateway = _Gateway(_overview(a="loading", b="failed"), _overview(a="serving", b="failed"), ready=False)
    assert _names(settled(Output(), gateway, {"a", "b"}, _never)) == ["b"]


def test_a_gateway_that_serves_nothing_is_an_error():
    with pytest.raises(Unavailable, match="serves nothing - a - a broke; and 1 more"):
        settled(Output(), _Gateway(_overview(a="failed", b="failed")), {"a"}, _never)


def test_what_settings_leave_out_is_not_waited_for_long(monkeypatch):
    monkeypatch.setattr(starting, "_UNSEEN_S", 0.0)
    assert settled(Output(), _Gateway(_overview(a="serving")), {"a", "b"}, _never) == []


def test_a_gateway_that_is_started_again_is_waited_for_and_one_that_ended_is_not():
    checks = []
    gateway = _Gateway(None, _overview(a="serving"))
    assert settled(Output(), gateway, {"a"}, lambda: checks.append(1)) == []
    assert checks == [1]

    def ended():
        raise Unavailable("the gateway ended")

    with pytest.raises(Unavailable, match="the gateway ended"):
        settled(Output(), _Gateway(None), {"a"}, ended)
