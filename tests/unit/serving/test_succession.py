from dataclasses import replace

import pytest

from headrace.models.params import Param
from headrace.models.signature import Column, Signature, Tensor
from headrace.serving.succession import Heir, Offer, breaks, unmet

Y = Column("y", "float32")


def table(*inputs, outputs=(Y,)):
    return Signature("table", inputs, outputs)


def tensors(shape, given=(-1, 2), dtype="float32"):
    return Signature("tensor", (Tensor("x", dtype, shape),), (Tensor("y", "float32", given),))


A, B = Column("a", "float64"), Column("b", "string")
DUE = table(A, B)
NULL = Column("a", "float64", nullable=True)


@pytest.mark.parametrize(
    ("due", "own", "why"),
    [
        (DUE, table(B, A), ""),
        (DUE, table(NULL, B), ""),
        (table(NULL, B), DUE, "'a' as float64 or null, it takes float64"),
        (DUE, table(A), "send 'b'"),
        (DUE, table(A, B, Column("c", "bool")), "needs 'c'"),
        (DUE, table(Column("a", "int64"), B), "'a' as float64, it takes int64"),
        (DUE, table(A, B, outputs=(Column("z", "float32"),)), "read 'y'"),
        (DUE, table(A, B, outputs=(Column("y", "float64"),)), "'y' as float32, it gives float64"),
        (DUE, table(A, B, outputs=(*DUE.outputs, Column("z", "float32"))), "'y' alone, it gives 'y', 'z'"),
        (DUE, tensors((-1, 2)), "send a table"),
        (tensors((-1, 2)), tensors((-1, -1)), ""),
        (tensors((-1, -1)), tensors((-1, 2)), "it takes float32[-1, 2]"),
        (tensors((-1, 2)), tensors((-1, 2, 1)), "it takes float32[-1, 2, 1]"),
        (tensors((-1, 2)), tensors((-1, 2), dtype="float64"), "it takes float64"),
        (tensors((-1, 2), (-1, -1)), tensors((-1, 2)), ""),
        (tensors((-1, 2)), tensors((-1, 2), (-1, -1)), "it gives float32[-1, -1]"),
    ],
)
def test_what_callers_miss_is_said(due, own, why):
    found = unmet(Offer(due), Offer(own))
    assert why in found
    assert bool(found) == bool(why)


def says(*params):
    return replace(DUE, params=params)


FACTOR, TIMES = Param("factor", "float64", 1.0), Param("times", "int64", 1)


@pytest.mark.parametrize(
    ("due", "own", "why"),
    [
        (says(FACTOR), says(replace(FACTOR, default=2.0), TIMES), ""),
        (DUE, says(FACTOR), ""),
        (says(FACTOR), DUE, "may send the param 'factor', which it does not take"),
        (
            says(FACTOR),
            says(Param("factor", "int64", 1)),
            "the param factor: float64 = 1.0, it takes factor: int64 = 1",
        ),
        (says(FACTOR), says(Param("factor", "float64", [1.0], many=True)), "it takes factor: float64[] = [1.0]"),
        (says(replace(FACTOR, nullable=True)), says(FACTOR), "may send the param"),
        (says(FACTOR), says(replace(FACTOR, nullable=True)), ""),
    ],
)
def test_what_callers_may_say_is_to_be_taken(due, own, why):
    found = unmet(Offer(due), Offer(own))
    assert why in found
    assert bool(found) == bool(why)


@pytest.mark.parametrize(
    ("due", "own", "why"),
    [
        (Offer(DUE), Offer(DUE, "at"), ""),
        (Offer(DUE, "at"), Offer(DUE, "at"), ""),
        (Offer(DUE, "at"), Offer(DUE), "may send 'at' as the event time, it takes none"),
        (Offer(DUE, "at"), Offer(DUE, "seen"), "it takes seen"),
        (Offer(DUE, "at"), Offer(table(A, B, Column("at", "string"))), "needs 'at'"),
        (Offer(DUE, "a"), Offer(DUE), ""),  # an input is none besides
        (Offer(tensors((-1, 2)), "at"), Offer(tensors((-1, 2))), ""),  # tensors carry no event time
        (Offer(DUE), Offer(replace(DUE, name="other")), ""),  # callers cannot ask for it by name
    ],
)
def test_the_event_time_is_part_of_what_callers_send_the_signatures_name_is_not(due, own, why):
    found = unmet(due, own)
    assert why in found
    assert bool(found) == bool(why)


def test_each_is_compared_with_the_newest_that_was_not_refused():
    due, other = Offer(DUE), Offer(table(A))
    assert breaks([Heir(due), Heir(other), Heir(None), Heir(due), Heir(other)]).keys() == {1, 4}
    assert breaks([Heir(due), Heir(other, deliberate=True), Heir(other), Heir(due)]).keys() == {3}
