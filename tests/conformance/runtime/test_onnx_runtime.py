import pytest
from served import onnx_linear

from headrace.conformance.runtime import RuntimeSuite
from headrace.engines.onnxruntime.runtime import OnnxRuntime


class TestOnnxRuntime(RuntimeSuite):
    @pytest.fixture
    def runtime(self):
        return OnnxRuntime()

    @pytest.fixture
    def folder(self, tmp_path):
        folder = tmp_path / "model"
        folder.mkdir()
        (folder / "model.onnx").write_bytes(onnx_linear([1, 2], output="total"))
        return folder
