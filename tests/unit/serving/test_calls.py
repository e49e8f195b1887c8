import pytest

from headrace.serving import calls as calls_module
from headrace.serving.calls import Call, Calls


def test_a_call_counts_once_for_the_model_and_once_for_each_of_its_requests():
    calls = Calls()
    calls.add(Call(rows=5, requests=3, queued_s=0.6, input_s=0.1, model_s=2.0, output_s=0.01))
    calls.add(Call(rows=1, requests=1, queued_s=0.1, input_s=0.0, model_s=1.0, output_s=0.02))
    whole, each = calls.whole, calls.by_requests
    assert (calls.rows, whole.calls, each.calls) == (6, 2, 4)
    assert (whole.model_s, each.model_s) == (3.0, 7.0)
    assert (whole.input_s, each.input_s) == pytest.approx((0.1, 0.3))
    assert (whole.output_s, each.output_s) == pytest.approx((0.03, 0.05))
    assert calls.queued_s == pytest.approx(0.7)
    assert {rows: spent.calls for rows, spent in calls.by_rows.items()} == {5: 1, 1: 1}


def test_memory_is_bounded_and_what_is_not_told_apart_is_counted(monkeypatch):
    monkeypatch.setattr(calls_module, "SIZES_LIMIT", 2)
    calls = Calls()
    for rows in (1, 2, 3, 4, 3, 2):
        calls.add(Call(rows, requests=1, queued_s=0.0, input_s=0.0, model_s=1.0, output_s=0.0))
    assert {rows: spent.calls for rows, spent in calls.by_rows.items()} == {1: 1, 2: 2}
    assert (calls.rows, calls.whole.calls, calls.whole.model_s) == (15, 6, 6.0)
