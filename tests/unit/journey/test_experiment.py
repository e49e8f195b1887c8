import pytest

from headrace.errors import UsageError
from headrace.journey.experiment import counted_from


def test_the_moment_that_a_verdict_prints_may_be_given_back():
    began = 1_795_827_950.9287
    assert counted_from(began, 1_795_827_950.0) == began
    assert counted_from(began, began + 60) == began + 60
    with pytest.raises(UsageError, match=r"did not stand yet - since 2026-11-28 01:05:50Z"):
        counted_from(began, 1_795_827_949.9)
