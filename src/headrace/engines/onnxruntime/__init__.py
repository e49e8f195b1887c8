"""The onnxruntime engine."""
