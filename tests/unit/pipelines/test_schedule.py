"""Any plan, any failures: nothing starts too early, nothing that may start is left out."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.pipelines.plan import Node, Plan
from headrace.pipelines.references import Reference
from headrace.pipelines.schedule import GOOD, SETTLED, Schedule

_calls = st.lists(
    st.tuples(
        st.sampled_from(["step", "step", "gate", "effect"]),
        st.lists(st.integers(0, 30), max_size=3),
        st.sampled_from(["done", "done", "done", "cached", "failed", "refused"]),
    ),
    min_size=1,
    max_size=12,
)


def _plan(calls):
    nodes = []
    for i, (kind, inputs, _) in enumerate(calls):
        marks = {f"x{n}": {"$node": n % i} for n in inputs} if i else {}
        nodes.append(Node(str(i), "gate" if kind == "gate" else "step", arguments=marks, effect=kind == "effect"))
    return Plan("any", nodes)


def _simulated(schedule, calls, random):
    """Settle every node as ``calls`` says, in any order that the schedule allows; the order."""
    running = []
    while True:
        for index, by in schedule.stopped():
            assert schedule.states[by] in SETTLED - GOOD
            schedule.settle(index, "skipped")
        for index in schedule.ready():
            schedule.settle(index, "running")
            running.append(index)
        if running:
            index = running.pop(random.randrange(len(running)))
            schedule.settle(index, calls[index][2], Reference(None, ""))
            yield index
        elif not schedule.stopped():
            return


@given(_calls, st.randoms(use_true_random=False))
def test_any_plan_settles_in_a_right_order(calls, random):
    plan = _plan(calls)
    schedule = Schedule(plan)
    order = list(_simulated(schedule, calls, random))
    states = schedule.states
    assert set(states.values()) <= SETTLED
    for place, index in enumerate(order):
        node = plan.nodes[index]
        assert all(states[i] in GOOD and i in order[:place] for i in node.inputs)
        if node.effect:
            gates = [i for i in range(index) if plan.nodes[i].kind == "gate"]
            assert all(states[i] in GOOD and i in order[:place] for i in gates)
            assert not [i for i in order[place:] if i < index and plan.nodes[i].effect]
    for index, state in states.items():
        if state == "skipped":
            assert any(states[i] not in GOOD for i in plan.stops(index))


@given(_calls, st.data())
def test_only_needs_itself_and_what_it_waits_for(calls, data):
    plan = _plan(calls)
    index = data.draw(st.integers(0, len(calls) - 1))
    needed = plan.needed([str(index)])
    assert index in needed
    for i in needed:
        assert set(plan.stops(i)) <= needed
    assert plan.lineage(index) <= needed
    assert plan.needed([]) == set(range(len(calls)))
