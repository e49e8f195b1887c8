"""What every Tracking engine must do. Subclass ``TrackingSuite`` and return the engine from ``tracking``."""

import math

import pytest

from headrace.training.tracking import Tracking

MANY = 150


class TrackingSuite:
    """Cases for the port ``training.tracking.Tracking``."""

    @pytest.fixture
    def tracking(self) -> Tracking:
        """The engine under test, empty."""
        raise NotImplementedError

    def test_the_same_key_is_written_once(self, tracking: Tracking) -> None:
        """Mirroring again returns the same run."""
        first = tracking.mirror("wine", "trial 0", params={"rate": 0.1}, metrics={"auc": 0.7}, tags={"key": "a/0"})
        again = tracking.mirror("wine", "trial 0", params={"rate": 0.1}, metrics={"auc": 0.7}, tags={"key": "a/0"})
        other = tracking.mirror("wine", "trial 1", params={"rate": 0.2}, metrics={"auc": 0.6}, tags={"key": "a/1"})
        assert first == again != other

    def test_runs_without_anything_and_with_a_lot(self, tracking: Tracking) -> None:
        """No params, many params, long values, names of all kinds, a metric that is no number."""
        params = {f"p{number}": "x" * 9000 for number in range(MANY)} | {"wine@1 & (more)": None}
        assert tracking.mirror("wine", "empty", params={}, metrics={}, tags={"key": "empty"})
        assert tracking.mirror("wine", "full", params=params, metrics={"auc": math.nan}, tags={"key": "full"})

    def test_it_has_an_address(self, tracking: Tracking) -> None:
        """The server's own client can be pointed at it."""
        assert "://" in tracking.address()
