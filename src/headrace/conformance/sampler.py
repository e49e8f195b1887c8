"""What every Sampler engine must do. Subclass ``SamplerSuite`` and return the engine from ``sampler``."""

import pytest

from headrace.tuning.sampler import Dimension, Sampler, Study, Tried

SPACE = {
    "rate": Dimension("log_uniform", 0.01, 1.0),
    "share": Dimension("uniform", 0.2, 0.8),
    "depth": Dimension("integer", 2, 6),
    "kind": Dimension("choice", values=["plain", None, (1, 2)]),
}


def _reached(rate: float) -> float:
    return -((rate - 0.1) ** 2)


class SamplerSuite:
    """Cases for the port ``tuning.sampler.Sampler``."""

    @pytest.fixture
    def sampler(self) -> Sampler:
        """The engine under test."""
        raise NotImplementedError

    def test_proposals_lie_in_the_space(self, sampler: Sampler) -> None:
        """Every parameter is named and within its dimension."""
        for settings in sampler.ask(Study(SPACE, maximize=True), [], count=12):
            assert set(settings) == set(SPACE)
            assert 0.01 <= settings["rate"] <= 1.0
            assert 0.2 <= settings["share"] <= 0.8
            assert settings["depth"] in range(2, 7)
            assert settings["kind"] in SPACE["kind"].values

    def test_same_history_same_proposals(self, sampler: Sampler) -> None:
        """Nothing is remembered between calls."""
        study = Study(SPACE, maximize=True, seed=3)
        first = sampler.ask(study, [], count=4)
        history = [(settings, float(place)) for place, settings in enumerate(first)]
        assert sampler.ask(study, [], count=4) == first
        assert sampler.ask(study, history, count=4) == sampler.ask(study, history, count=4)

    def test_another_seed_proposes_otherwise(self, sampler: Sampler) -> None:
        """The seed matters."""
        assert sampler.ask(Study(SPACE, maximize=True, seed=1), [], count=2) != sampler.ask(
            Study(SPACE, maximize=True, seed=2), [], count=2
        )

    def test_a_later_batch_does_not_repeat_the_first(self, sampler: Sampler) -> None:
        """History moves the search on."""
        study = Study(SPACE, maximize=True)
        first = sampler.ask(study, [], count=4)
        second = sampler.ask(study, [(settings, 0.0) for settings in first], count=4)
        assert not [settings for settings in second if settings in first]

    @pytest.mark.parametrize("maximize", [True, False])
    def test_it_learns(self, sampler: Sampler, *, maximize: bool) -> None:
        """After forty trials the proposals lie nearer to the optimum than a uniform draw does."""
        study = Study({"rate": Dimension("uniform", 0.0, 1.0)}, maximize=maximize)
        history: list[Tried] = []
        while len(history) < 40:
            for settings in sampler.ask(study, history, count=4):
                value = _reached(settings["rate"])
                history.append((settings, value if maximize else -value))
        late = [abs(settings["rate"] - 0.1) for settings, _ in history[-12:]]
        assert sorted(late)[6] < 0.15

    def test_a_score_that_is_no_number_is_survived(self, sampler: Sampler) -> None:
        """A trial whose score is NaN stops nothing."""
        study = Study(SPACE, maximize=True)
        tried = [(settings, float("nan")) for settings in sampler.ask(study, [], count=2)]
        assert len(sampler.ask(study, tried, count=2)) == len(tried)
