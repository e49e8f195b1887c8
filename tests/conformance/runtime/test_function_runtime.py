"""Python functions as models, each in a worker."""

import pytest

from headrace.conformance.runtime import RuntimeSuite
from headrace.engines.local.functions import open_runtime
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
