"""What the suites of models that are one file share: they are given ``content``, a model of ``total = a + 2 b``."""

import pytest

from headrace.conformance.runtime import RuntimeSuite
from headrace.models.formats import sniffed
from headrace.models.signature import Signature, Tensor
from headrace.settings import Settings


def kept_by(open_runtime, folder, content):
    """The folder of a registered model, and the runtime of its format, as its engine opens it."""
    format_ = sniffed(content)
    (folder / "model").mkdir()
    (folder / "model" / f"model.{format_}").write_bytes(content)
    return folder / "model", open_runtime(Settings(root=folder), format_)


class SumSuite(RuntimeSuite):
    """The published cases, on that model; ``open_runtime`` is the engine's."""

    names_outputs = False

    @pytest.fixture
    def runtime(self, tmp_path, content):
        return self.open_runtime(Settings(root=tmp_path), sniffed(content))

    @pytest.fixture
    def folder(self, tmp_path, content):
        return kept_by(self.open_runtime, tmp_path, content)[0]

    @pytest.fixture
    def tensors(self):
        return Signature("tensor", (Tensor("x", "float32", (-1, 2)),), (Tensor("total", "float32", (-1, 1)),))
