import pytest
from served import onnx_linear

from headrace.conformance.runtime import RuntimeSuite
from headrace.engines.onnxruntime.runtime import OnnxRuntime


class TestOnnxRuntime(RuntimeSuite):
    declares = True

    @pytest.fixture
    def runtime(self):
        return OnnxRuntime()

    @pytest.fixture
    def folder(self, tmp_path):
        folder = tmp_path / "model"
        folder.mkdir()
        (folder / "model.onnx").write_bytes(onnx_linear([1, 2], output="total"))
        return folder

    def test_the_graph_says_its_inputs_and_outputs(self, runtime, folder):
        assert runtime.declared(folder).to_json() == {
            "kind": "tensor",
            "inputs": [{"name": "numbers", "dtype": "float32", "shape": [-1, 2]}],
            "outputs": [{"name": "total", "dtype": "float32", "shape": [-1]}],
        }
