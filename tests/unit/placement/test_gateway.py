import pytest

from headrace.errors import UsageError
from headrace.placement.gateway import Beside, checked_names


def test_names_of_metrics_are_known_ones_each_once():
    assert checked_names("triton, headrace,triton") == ("triton", "headrace")
    for said in ("", "headrace,", "prometheus"):
        with pytest.raises(UsageError, match="one or more of headrace,tensorflow,triton"):
            checked_names(said)
    with pytest.raises(UsageError, match="prometheus"):
        Beside(metrics_names="prometheus")


def test_a_gateway_with_other_names_is_another():
    named = Beside(metrics_names="headrace,triton")
    command = ["python", "-m", "headrace.gateway", *named.options("127.0.0.1")]
    assert command[-2:] == ["--metrics-names", "headrace,triton"]
    assert named.offered_by(command)
    assert Beside().offered_by(command)
    assert not Beside(metrics_names="triton").offered_by(command)
