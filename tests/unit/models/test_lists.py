"""Tensors in columns: nested or flat lists in, lists out, faults with their row."""

import numpy as np
import pyarrow as pa
import pytest

from headrace.errors import SignatureError
from headrace.models.lists import column_of, tensor_of, type_of
from headrace.models.signature import Tensor

PIXELS = Tensor("pixels", "float32", (-1, 2, 3))
DTYPES = ["bool", "uint8", "int16", "uint32", "int64", "uint64", "float16", "float32", "float64", "string", "bytes"]


@pytest.mark.parametrize(
    "cells",
    [
        pa.array([[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]]),
        pa.array([[1.0, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]]),
        pa.array([[1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]], pa.list_(pa.uint8(), 6)),
        pa.array([[0] * 6, [1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]], pa.large_list(pa.int64())).slice(1),
    ],
    ids=lambda cells: str(cells.type),
)
def test_nested_flat_and_sliced_lists_are_one_tensor(cells):
    found = tensor_of(cells, PIXELS, 0)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.arange(1, 13).reshape(2, 2, 3))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_datatype_there_and_back(dtype):
    tensor = Tensor("x", dtype, (-1, 2))
    words = {"string": [["a", "b"], ["c", ""]], "bytes": [[b"a", b"\xff"], [b"", b"\x00"]]}
    cells = pa.array(words.get(dtype, [[0, 1], [1, 0]]))
    array = tensor_of(cells.cast(pa.list_(pa.bool_())) if dtype == "bool" else cells, tensor, 0)
    column = column_of(array, type_of(tensor))
    assert column.type == type_of(tensor)
    assert tensor_of(column, tensor, 0).tolist() == array.tolist()


def test_scalars_and_deep_extents():
    assert tensor_of(pa.array([1, 2]), Tensor("n", "int64", (-1,)), 0).tolist() == [1, 2]
    assert tensor_of(pa.array([1, 2]), Tensor("n", "int64", (-1, 1)), 0).tolist() == [[1], [2]]
    array = np.arange(48, dtype=np.float32).reshape(2, 4, 3, 2)
    tensor = Tensor("x", "float32", (-1, -1, 3, 2))
    np.testing.assert_array_equal(tensor_of(column_of(array, type_of(tensor)), tensor, 0), array)
    empty = np.zeros((2, 0, 3), np.float32)
    assert column_of(empty, type_of(PIXELS)).to_pylist() == [[], []]


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([[1, 2, 3, 4, 5, 6], None], "column 'pixels' is null - row 11"),
        ([[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, None]], "column 'pixels' is null - row 11"),
        ([[1, 2, 3, 4, 5, 6], [1, 2, 3]], "column 'pixels' is ragged - row 11 - a list of 3 where"),
        ([[[1, 2, 3], [4, 5, 6]], [[1, 2, 3], [4, 5]]], "column 'pixels' is ragged - row 11"),
        ([[1, 2, 3, 4]], r"holds lists of 4 - \[2, 3\] is due for each row"),
        ([[[1, 2], [3, 4], [5, 6]]], r"holds lists of 3 x 2 - \[2, 3\] is due"),
        ([1.0, 2.0], r"holds one value a row - \[2, 3\] is due"),
        ([["a"] * 6], r"holds string - a tensor float32 \[-1, 2, 3\] is due"),
        ([[1.0] * 6, [1.0, float("nan"), 1, 1, 1, 1]], "is refused - row 11 - .*nan"),
        ([[1.0] * 6, [1.0, 1e39, 1, 1, 1, 1]], "is refused - row 11 - .*does not fit float32"),
    ],
)
def test_faults_name_the_row(cells, said):
    with pytest.raises(SignatureError, match=said):
        tensor_of(pa.array(cells), PIXELS, 10)


@pytest.mark.parametrize(("dtype", "value"), [("uint8", 256), ("uint8", -1), ("int64", 0.5), ("int64", 2.0**63)])
def test_whole_numbers_are_never_cut(dtype, value):
    with pytest.raises(SignatureError, match=r"row 1 .*does not fit"):
        tensor_of(pa.array([[1], [value]]), Tensor("n", dtype, (-1, 1)), 0)
