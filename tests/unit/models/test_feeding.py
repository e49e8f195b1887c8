import numpy as np
import pytest

from headrace.errors import SignatureError
from headrace.models.feeding import fed
from headrace.models.signature import Column, Signature, Tensor

NUMBERS = (Column("a", "float64"), Column("b", "float64"))
OWN = Signature(
    "tensor",
    (Tensor("x", "float32", (-1, 2)), Tensor("scale", "float32", (-1,))),
    (Tensor("product", "float32", (-1, 2)), Tensor("total", "float32", (-1,))),
)
X, SCALE = np.array([[1, 2], [3, 4]], np.float32), np.array([2, 3], np.float32)


def scaled(arrays):
    x, scale = arrays
    return x * scale[:, None], x.sum(1)


def tensors(inputs, outputs):
    return Signature("tensor", tuple(inputs), tuple(outputs))


def test_a_model_is_given_its_inputs_in_its_own_order_and_answers_by_name():
    score = fed(scaled, tensors(OWN.tensors[::-1], OWN.outputs), OWN)
    answer = score({"scale": SCALE, "x": X})
    np.testing.assert_array_equal(answer["product"], [[2, 4], [9, 12]])
    np.testing.assert_array_equal(answer["total"], [3, 7])


def test_outputs_without_names_are_called_as_the_signature_calls_them():
    renamed = [Tensor("scaled", "float32", (-1, 2)), Tensor("sum", "float32", (-1,))]
    assert list(fed(scaled, tensors(OWN.tensors, renamed), OWN)({"x": X, "scale": SCALE})) == ["scaled", "sum"]


def test_a_mapping_is_read_by_its_keys_and_they_are_held_to_the_signature():
    def mapped(arrays):
        product, total = scaled(arrays)
        return {"total": total, "product": product}

    answer = fed(mapped, OWN, OWN, returned=("total", "product"))({"x": X, "scale": SCALE})
    np.testing.assert_array_equal(answer["total"], [3, 7])
    with pytest.raises(SignatureError, match="gives product, total"):
        fed(mapped, tensors(OWN.tensors, [Tensor("other", "float32", (-1,))]), OWN, returned=("total", "product"))


@pytest.mark.parametrize(
    "wrong",
    [
        Tensor("x", "float64", (-1, 2)),
        Tensor("x", "float32", (-1, 3)),
        Tensor("x", "float32", (-1,)),
        Tensor("y", "float32", (-1, 2)),
    ],
)
def test_other_tensors_than_the_models_are_refused(wrong):
    with pytest.raises(SignatureError, match="the model takes"):
        fed(scaled, tensors([wrong, OWN.tensors[1]], OWN.outputs), OWN)


def test_a_tensor_of_no_extents_says_nothing_of_its_shape():
    own = tensors([Tensor("x", "float32", ())], [Tensor("y", "float32", ())])
    score = fed(
        lambda arrays: arrays[0] * 2, tensors([Tensor("x", "int64", (-1, 2))], [Tensor("y", "int8", (3,))]), own
    )
    np.testing.assert_array_equal(score({"x": X})["y"], X * 2)


def test_a_table_is_fed_as_one_matrix_of_the_models_type():
    own = tensors([Tensor("x", "float64", (-1, 2))], [Tensor("y", "float64", (-1, 1))])
    seen = []

    def total(arrays):
        seen.append(arrays[0].dtype)
        return [arrays[0].sum(1)]

    score = fed(total, Signature("table", NUMBERS, (Column("y", "float32"),)), own)
    np.testing.assert_array_equal(score({"numbers": X})["y"], [3, 7])
    assert set(seen) == {np.dtype("float64")}


def test_a_table_is_refused_by_a_model_that_cannot_take_its_row():
    table = Signature("table", NUMBERS, (Column("y", "float32"),))
    with pytest.raises(SignatureError, match="a table is one matrix"):
        fed(scaled, table, OWN)

    def breaks(_arrays):
        raise RuntimeError("shapes do not match")

    with pytest.raises(SignatureError, match="shapes do not match"):
        fed(breaks, table, tensors([Tensor("x", "float32", (-1, 2))], []))
