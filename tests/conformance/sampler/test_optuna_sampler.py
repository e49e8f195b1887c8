import pytest

from headrace.conformance.sampler import SamplerSuite
from headrace.engines.optuna.sampler import OptunaSampler


class TestOptunaSampler(SamplerSuite):
    @pytest.fixture
    def sampler(self):
        return OptunaSampler()
