import pytest

from headrace.serving.counters import EndpointCounters
from headrace.serving.recent import Recent


def test_the_rate_is_that_of_the_last_minute():
    recent, counters = Recent(), {"wine": EndpointCounters()}
    assert recent.per_second("wine", 100.0, 0) == 0.0
    for second in range(200):  # ten a second at first, then two
        recent.look(second, counters)
        recent.look(second + 0.5, {"wine": EndpointCounters(requests=10**9)})  # too early to be looked at
        counters["wine"].requests += 10 if second < 100 else 2
    assert recent.per_second("wine", 200.0, counters["wine"].requests) == pytest.approx(2.0)
    assert len(recent._looks) <= 62


def test_until_a_minute_has_passed_it_is_that_since_the_first_look():
    recent = Recent()
    recent.look(10.0, {})
    assert recent.per_second("wine", 10.0, 3) == 0.0
    assert recent.per_second("wine", 14.0, 8) == pytest.approx(2.0)
    assert recent.per_second("wine", 200.0, 8) == 0.0, "nobody has looked for a minute"
