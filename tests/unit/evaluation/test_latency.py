import time

from headrace.evaluation.latency import side_by_side


def spin(seconds):
    def score(_batch):
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            pass

    return score


def test_the_ratio_is_of_candidate_over_champion():
    found = side_by_side(spin(400e-6), spin(100e-6), [None], calls=60)
    assert 2.5 < found.p50_ratio < 5.5
    assert found.candidate_p99_s >= found.candidate_p50_s >= 400e-6


def test_they_take_turns_on_the_same_batches():
    heard = []
    side_by_side(lambda b: heard.append(("new", b)), lambda b: heard.append(("old", b)), [1, 2], calls=20)
    pairs = [heard[i : i + 2] for i in range(0, len(heard), 2)]
    assert len(pairs) == 22
    assert all({who for who, _ in pair} == {"new", "old"} and pair[0][1] == pair[1][1] for pair in pairs)
    assert {pair[0][0] for pair in pairs[2:]} == {"new", "old"}
    assert {pair[0][1] for pair in pairs} == {1, 2}
