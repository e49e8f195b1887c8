"""Python functions as models, each in a worker."""

import pytest

from headrace.conformance.runtime import RuntimeSuite
from headrace.engines.local.functions import open_runtime
from headrace.errors import SignatureError
from headrace.models.params import Param
from headrace.models.signature import Signature, Tensor
from headrace.sdk.functions import serve_function
from headrace.settings import Settings


def total(a, b):
    return a + 2 * b


class TestFunctionRuntime(RuntimeSuite):
    shows_a_cut = False

    @pytest.fixture
    def runtime(self, tmp_path):
        return open_runtime(Settings(root=tmp_path), "python")

    @pytest.fixture
    def tensors(self):
        return Signature(
            "tensor", tuple(Tensor(n, "float32", (-1,)) for n in "ab"), (Tensor("total", "float32", (-1,)),)
        )

    @pytest.fixture
    def folder(self, tmp_path):
        folder = tmp_path / "model"
        folder.mkdir()
        for name, content in serve_function(total).files.items():
            (folder / name).write_bytes(content)
        return folder


def shifted(a, *, by=1.0):
    return a + by


def test_params_are_the_functions(tmp_path):
    for name, content in serve_function(shifted).files.items():
        (tmp_path / name).write_bytes(content)
    runtime = open_runtime(Settings(root=tmp_path), "python")
    column = (Tensor("a", "float32", (-1,)),)
    with pytest.raises(SignatureError, match="the function may be told by - the signature has of"):
        runtime.load(tmp_path, Signature("tensor", column, column, params=(Param("of", "float64", 1.0),)))
