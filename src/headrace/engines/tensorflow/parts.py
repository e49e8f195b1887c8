"""TensorFlow's messages and its session, without the rest of TensorFlow.

``import tensorflow`` takes 3 seconds of CPU and 285 MB for each worker, nearly all of it for building and training
models. The package is therefore entered by its parts: its own ``__init__`` is not run, unless that has happened.
"""

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from headrace.errors import MissingExtra

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "tensorflow" not in sys.modules:
    _spec = importlib.util.find_spec("tensorflow")
    if _spec is None:
        raise MissingExtra("engine 'tensorflow' needs tensorflow", fix="pip install 'headrace[tensorflow]'")
    sys.modules["tensorflow"] = importlib.util.module_from_spec(_spec)


@contextmanager
def _unheard() -> Iterator[None]:
    """Leave out what TensorFlow's libraries write of the machine when they start, into what the server prints."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


with _unheard():
    from tensorflow.core.protobuf.config_pb2 import ConfigProto
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
    from tensorflow.python.client.session import Session
    from tensorflow.python.framework.errors_impl import OpError, ResourceExhaustedError
    from tensorflow.python.framework.importer import import_graph_def
    from tensorflow.python.framework.ops import Graph
    from tensorflow.python.ops.array_ops import placeholder

__all__ = [
    "ConfigProto",
    "Graph",
    "OpError",
    "ResourceExhaustedError",
    "SavedModel",
    "Session",
    "import_graph_def",
    "placeholder",
]
