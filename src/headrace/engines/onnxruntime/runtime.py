"""Runtime for ONNX models: ONNX Runtime in this process, one thread a model, errors in our words."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from headrace.engines.onnxruntime.tables import KINDS, Feed, table_feed
from headrace.errors import IntegrityError, RunFailed, SignatureError, first_line
from headrace.models.artifact import existing
from headrace.models.runtime import Batch, Loaded
from headrace.models.signature import Signature, Tensor
from headrace.models.tensors import NUMPY
from headrace.serving.rehearsal import Rehearsal
from headrace.serving.worker import Score
from headrace.serving.worker_process import Limits
from headrace.settings import Settings

MAIN_FILE = "model.onnx"
_ERRORS_ONLY = 3  # ONNX Runtime's log level


_REHEARSAL = Limits(call_s=30.0)  # what is scored there is all recorded rows at once, and nobody waits for it


def open_runtime(settings: Settings, name: str) -> "OnnxRuntime":  # noqa: ARG001 - every factory takes both
    """The ONNX runtime of this process."""
    return OnnxRuntime(replace(_REHEARSAL, memory_bytes=settings.model_memory_mb << 20))


def load_alone(folder: Path, signature: Signature) -> Score:
    """Load a model in a worker; see ``OnnxRuntime.load``."""
    model = OnnxRuntime().load(folder, signature)

    def score(batch: Batch) -> Mapping[str, NDArray[Any]]:
        try:
            return model.score(batch)
        except RunFailed as error:  # who asked the worker says that it did not score
            raise error.__cause__ or error from None

    return score


def declared_alone(folder: Path, name: str) -> Signature:
    """Read in a worker what a model says; see ``OnnxRuntime.declared``."""
    return OnnxRuntime().declared(folder, name)


class OnnxRuntime:
    """Loads ONNX files.

    A session uses one thread and does not spin: a server scores many requests side by side, and threads that
    wait by spinning take the cores from them.

    Args:
        rehearsal: What a model may cost while it is tried in a worker.
    """

    format = "onnx"

    def __init__(self, rehearsal: Limits = _REHEARSAL) -> None:
        module = __name__
        self.rehearsal = Rehearsal("onnx", f"{module}:load_alone", rehearsal, f"{module}:declared_alone")

    def load(self, folder: Path, signature: Signature) -> Loaded:
        """Load ``model.onnx`` and check that it takes what the signature says.

        Raises:
            IntegrityError: The file is missing or no valid ONNX model.
            SignatureError: The graph's inputs or outputs are not the signature's.
        """
        session = _session(folder)
        feed = None
        if signature.kind == "table":
            feed = table_feed(session.get_inputs(), signature)
        else:
            _check_tensors(session, signature)
        _check_outputs(session, signature)
        return OnnxModel(session, tuple(c.name for c in signature.outputs), feed)

    def declared(self, folder: Path, name: str = "") -> Signature:
        """The graph's inputs and outputs as tensors; see ``Runtime.declared``.

        Raises:
            IntegrityError: The file is missing or no valid ONNX model.
            SignatureError: An input or output is no tensor with rows.
        """
        if name:
            raise SignatureError(f"the model has no signature {name!r}", why="an ONNX graph has one, without a name")
        session = _session(folder)
        return Signature("tensor", _declared(session.get_inputs()), _declared(session.get_outputs()))

    def examples(self, folder: Path, signature: Signature) -> None:
        """None: an ONNX file is a graph and no more; see ``Runtime.examples``."""


class OnnxModel:
    """One ONNX model in memory; ``score`` may be called from several threads at once.

    Args:
        session: The loaded graph.
        outputs: Names of what it gives.
        feed: Of a table, what makes the graph's inputs of a batch. Its outputs are columns, from which a trailing axis
            of one, as classifiers give, is dropped.
    """

    def __init__(self, session: ort.InferenceSession, outputs: tuple[str, ...], feed: Feed | None) -> None:
        self._feed = feed
        # What the session wraps: signature and decoder have checked all that the wrapper would look at again.
        self._run: Callable[..., Any] | None = getattr(session, "_sess", session).run
        self._outputs = outputs
        self._names = list(outputs)

    def score(self, batch: Batch) -> Mapping[str, NDArray[Any]]:
        """Outputs by name.

        Raises:
            RunFailed: The model refused the batch, or is closed.
        """
        if self._run is None:
            raise RunFailed("the model is closed")
        try:
            values = self._run(self._names, batch if self._feed is None else self._feed(batch), None)
        except Exception as error:
            raise RunFailed("the model did not score", why=first_line(error)) from error
        if self._feed is None:
            return dict(zip(self._outputs, values, strict=True))
        return {name: _flat(value) for name, value in zip(self._outputs, values, strict=True)}

    def close(self) -> None:
        """Let the session go; a call that still runs keeps it until it ends."""
        self._run = None


def _session(folder: Path) -> ort.InferenceSession:
    path = existing(folder / MAIN_FILE)
    try:
        return ort.InferenceSession(str(path), _options(), providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises classes it exports under no public name
        raise IntegrityError("the model cannot be loaded", where=str(path), why=first_line(error)) from error


def _declared(fields: Sequence[ort.NodeArg]) -> tuple[Tensor, ...]:
    found = []
    for field in fields:
        kind = field.type.removeprefix("tensor(").removesuffix(")")
        dtype = next((d for d in NUMPY if KINDS.get(d, d) == kind), None)
        if dtype is None or not field.shape:
            raise _no_tensor(field)
        found.append(Tensor(field.name, dtype, tuple(e if isinstance(e, int) else -1 for e in field.shape)))
    return tuple(found)


def _no_tensor(field: ort.NodeArg) -> SignatureError:
    mapped = "convert the model with zipmap=False" if field.type.startswith("seq(map") else ""
    return SignatureError(
        f"the graph's {field.name!r} is {field.type} {field.shape}",
        why="tensors with rows are served",
        fix=mapped or "say what is to be served: --signature",
    )


def _options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = _ERRORS_ONLY
    return options


def _check_tensors(session: ort.InferenceSession, signature: Signature) -> None:
    taken, due = {field.name: field for field in session.get_inputs()}, {tensor.name for tensor in signature.tensors}
    for tensor in signature.tensors:
        if tensor.name in taken:
            _check_tensor(taken[tensor.name], tensor)
    if due != taken.keys():
        raise SignatureError(
            f"the graph takes {', '.join(sorted(taken))}", why=f"the signature needs {', '.join(sorted(due))}"
        )


def _check_outputs(session: ort.InferenceSession, signature: Signature) -> None:
    given = {o.name: o for o in session.get_outputs()}
    missing = {o.name for o in signature.outputs} - given.keys()
    if missing:
        what, why = f"the graph has no output {', '.join(sorted(missing))}", f"it has {', '.join(sorted(given))}"
        raise SignatureError(what, why=why, fix="name the signature's outputs as the graph does")
    for output in signature.outputs:
        if not given[output.name].type.startswith("tensor("):
            raise _no_tensor(given[output.name])
        if isinstance(output, Tensor):
            _check_tensor(given[output.name], output)


def _check_tensor(field: ort.NodeArg, tensor: Tensor) -> None:
    """Type, and rank and fixed extents where the graph says them."""
    kind = f"tensor({KINDS.get(tensor.dtype, tensor.dtype)})"
    extents = list(field.shape or ())
    fits = not extents or (
        len(extents) == len(tensor.shape)
        and all(not isinstance(e, int) or n in {-1, e} for e, n in zip(extents, tensor.shape, strict=True))
    )
    if field.type != kind or not fits:
        raise SignatureError(
            f"the graph's {field.name!r} is {field.type} {extents}",
            why=f"the signature says {kind} {list(tensor.shape)}",
        )


def _flat(value: NDArray[Any]) -> NDArray[Any]:
    return value[:, 0] if isinstance(value, np.ndarray) and value.ndim == 2 and value.shape[1] == 1 else value  # noqa: PLR2004
