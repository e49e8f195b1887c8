"""Bring a model version into service: verify, load, warm up, compare with what the trained model answered."""

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.errors import ParityFailed, RunFailed, SignatureError
from headrace.models.params import checked_params
from headrace.models.registry import EXAMPLES, fetch, find
from headrace.models.runtime import FLOAT32_FORMATS, Batch, Loaded, Runtime, Several, Tunable, cautious
from headrace.models.signature import Signature
from headrace.models.tensors import bytes_of, from_cells
from headrace.models.version import ModelVersion
from headrace.serving.isolated import IsolatedModel
from headrace.serving.model_folder import blank_examples
from headrace.serving.outputs import Shapes, checker
from headrace.serving.scorer import INLINE_P99_S
from headrace.serving.tensors import decoder_of
from headrace.serving.tuned import told
from headrace.storage.files import Files
from headrace.storage.ledger import Ledger

_ROUNDS = 3
_CALLS = 40
_SLOW_S = 0.05
_BACK_S, _LOOK_S = 30.0, 0.01
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Model:
    """A version ready to score.

    Attributes:
        version: What was registered.
        loaded: It, in memory.
        p99_s: What scoring one row cost while warming up, in seconds (see ``warm_up``).
        compared: Rows on which it answered what the trained model had answered.
        one: A recorded row, to warm up and measure with.
        size_bytes: Of its files.
        shapes: Of a row's answers, as it gave them for its recorded rows.
    """

    version: ModelVersion
    loaded: Loaded
    p99_s: float
    compared: int
    one: Batch
    size_bytes: int = 0
    shapes: Shapes = field(default_factory=dict)

    @property
    def name(self) -> str:
        """``late@3``."""
        return str(self.version)

    @property
    def signature(self) -> Signature:
        """What it takes and gives."""
        return self.version.signature

    @property
    def narrow(self) -> bool:
        """Whether it computes with float32, whatever its columns are."""
        return self.version.format in FLOAT32_FORMATS

    @property
    def fast(self) -> bool:
        """Whether it may run on the event loop, where a worker process that hangs must not be waited for."""
        return self.p99_s < INLINE_P99_S and not self.isolated

    @property
    def isolated(self) -> bool:
        """Whether it has a process of its own."""
        return isinstance(self.loaded, IsolatedModel)

    @property
    def pid(self) -> int | None:
        """That process; None without one, and while there is none."""
        return self.loaded.pid if isinstance(self.loaded, IsolatedModel) else None

    @property
    def trouble(self) -> str:
        """Why it cannot score now; empty when it can."""
        return self.loaded.trouble if isinstance(self.loaded, IsolatedModel) else ""

    def still_fast(self) -> bool:
        """The same, measured now."""
        return replace(self, p99_s=warm_up(self.loaded, self.one)).fast


def load_model(ledger: Ledger, files: Files, runtime: Callable[[str], Runtime], reference: str) -> Model:
    """Load a registered version and prove it on its recorded rows.

    Args:
        ledger: Where versions are recorded.
        files: Where their files are.
        runtime: The runtime for a model format.
        reference: ``late@3``.

    Raises:
        IntegrityError: A stored file is not what was registered, or cannot be loaded.
        ParityFailed: It does not answer its recorded rows as the trained model did.
        RunFailed: It does not score its recorded rows.
        NotFound: There is no such version.
    """
    version = find(ledger, reference)
    return proven(version, fetch(files, version), runtime)


def proven(version: ModelVersion, folder: Path, runtime: Callable[[str], Runtime]) -> Model:
    """Load a version and prove it on its recorded rows.

    Args:
        version: What is loaded.
        folder: Its files, verified.
        runtime: The runtime for a model format.

    Raises:
        IntegrityError: A file cannot be loaded.
        ParityFailed: It does not answer its recorded rows as the trained model did.
        RunFailed: It does not score its recorded rows.
    """
    loaded = runtime(version.format).load(folder, version.signature)
    try:
        examples = json.loads((folder / EXAMPLES).read_bytes())
        compared = compare(str(version), loaded, version, examples)
        _meet_others(loaded, version.signature, examples)
        one = _rows(version.signature, examples, slice(0, 1))
        shapes = _shapes(loaded, version.signature, one)
        p99_s = warm_up(loaded, one)
    except BaseException:
        loaded.close()
        raise
    size_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Model(version, loaded, p99_s, compared, one, size_bytes, shapes)


def _meet_others(loaded: object, own: Signature, examples: Mapping[str, Any]) -> None:
    """Have a model's other signatures ready for who first asks for one: what reads its requests, and the model.

    One without recorded rows scores a row of nothing. It may well refuse that, which says nothing of it.
    """
    if not isinstance(loaded, Several):
        return
    for other in own.others:
        decoder_of(other)
        if other.name in examples.get("signatures", {}):
            continue
        with contextlib.suppress(RunFailed, ValueError, TypeError, KeyError):
            loaded.signed(other.name).score(_rows(other, blank_examples(other), slice(None)))
    until = time.monotonic() + _BACK_S
    while isinstance(loaded, IsolatedModel) and loaded.trouble and time.monotonic() < until:  # if it died of nothing
        time.sleep(_LOOK_S)


def _check_params(loaded: Loaded, version: ModelVersion) -> None:
    if version.signature.params and not isinstance(loaded, Tunable):
        raise SignatureError(
            f"{version} has params", why=f"a model of format {version.format} takes none", fix="leave them out"
        )


def tried(version: ModelVersion, folder: Path, runtime: Runtime, examples: Mapping[str, Any]) -> None:
    """Have a model from outside load and score in a worker, where its runtime would do that in this process.

    A graph can compute for ever or fill the memory: that costs the worker.

    Args:
        version: What is loaded.
        folder: Its files.
        runtime: Of its format.
        examples: Its recorded rows.

    Raises:
        IntegrityError: A file cannot be loaded.
        ParityFailed: It does not answer its recorded rows as the trained model did.
        RunFailed: It does not score its recorded rows, takes too long or too much memory.
        SignatureError: It does not fit the signature.
    """
    trial = cautious(runtime)
    if trial is runtime:  # models of this runtime are in workers anyway
        return
    loaded = trial.load(folder, version.signature)
    try:
        compare(str(version), loaded, version, examples)
    finally:
        loaded.close()


def compare(name: str, loaded: Loaded, version: ModelVersion, examples: Mapping[str, Any]) -> int:
    """Score the recorded rows and compare with the recorded answers; return how many were compared.

    Rows under ``signatures`` are those of the model's other signatures by name.

    Raises:
        ParityFailed: An answer differs by more than the recorded tolerance; names the rows.
        RunFailed: The model gives no finite answer of the right shape.
        SignatureError: It has no signature of a name that rows are recorded for, or takes no params.
    """
    _check_params(loaded, version)
    count = _compared(name, loaded, version.signature, examples)
    for other, recorded in examples.get("signatures", {}).items():
        signature = version.signature.named(other)
        if signature is None or not isinstance(loaded, Several):
            raise SignatureError(f"{name} has no signature {other!r}", where=EXAMPLES, why="rows are recorded for it")
        one = loaded.signed(other)
        count += _compared(f"{name} by {other}", one, signature, {**examples, "params": {}, **recorded})
    return count


def _compared(name: str, loaded: Loaded, own: Signature, examples: Mapping[str, Any]) -> int:
    batch = _rows(own, examples, slice(None))
    loaded = told(loaded, own, checked_params(own.params, examples.get("params", {})))
    count = len(next(iter(batch.values())))
    try:
        answers = checker(own)(loaded.score(batch), count)
    except (ValueError, TypeError, KeyError) as error:
        raise RunFailed(f"{name} does not score its recorded rows", where=EXAMPLES, why=str(error)) from error
    recorded = examples.get("outputs", {})
    tolerance = examples.get("tolerance", TOLERANCE)
    for output in recorded:
        gap = _gap(answers[output], recorded[output])
        wrong = np.flatnonzero(~(gap <= tolerance).reshape(len(gap), -1).all(axis=1))
        if len(wrong):
            raise ParityFailed(
                f"{name} does not answer as the trained model did",
                where=f"output {output!r}, rows {', '.join(map(str, wrong[:5]))} of {EXAMPLES}",
                why=f"differs by {gap.max():.3g}, allowed is {tolerance:g}",
                fix="serve the version before it, or register this one anew with the answers that it gives",
            )
    return count if recorded else 0


def _shapes(loaded: Loaded, own: Signature, one: Batch) -> Shapes:
    """A signature of tensors says how many values a row's answer has; that of a table does not.

    What a request says may be how many it wants.
    """
    if own.kind == "tensor" or own.params:
        return {}
    return {name: answers.shape[1:] for name, answers in loaded.score(one).items()}


def _gap(answers: Any, recorded: Any) -> NDArray[np.float64]:
    """How far apart, by value: numbers by their difference, text by 1."""
    given, due = np.atleast_1d(np.asarray(answers)), np.atleast_1d(np.asarray(recorded))
    if given.shape != due.shape:
        return np.full(1, np.inf)
    if due.dtype.kind in "OSU":
        pairs = zip(given.ravel().tolist(), due.ravel().tolist(), strict=True)
        return np.array([_word(a) != _word(b) for a, b in pairs], float).reshape(due.shape)
    return np.asarray(np.abs(given.astype(float) - due.astype(float)))


def _word(cell: Any) -> bytes:
    return bytes_of(cell if isinstance(cell, str | bytes | dict) else str(cell))


def warm_up(loaded: Loaded, one: Batch) -> float:
    """Score one row repeatedly; return what it costs in seconds.

    That is the 99th percentile of its CPU time, of the calmest of three rounds, or its shortest wall time where that
    is longer (a model that waits): a busy machine must not make a cheap model look slow.
    """
    cpu, wall = float("inf"), float("inf")
    for _ in range(_ROUNDS):
        taken = []
        for _ in range(_CALLS):
            begun, cpu_begun = time.monotonic(), time.thread_time()
            loaded.score(one)
            taken.append(time.thread_time() - cpu_begun)
            wall = min(wall, time.monotonic() - begun)
            if wall > _SLOW_S:  # nothing to find out about a slow model
                return wall
        cpu = min(cpu, sorted(taken)[int(len(taken) * 0.99)])
    return max(cpu, wall)


def _rows(own: Signature, examples: Mapping[str, Any], which: slice) -> Batch:
    if own.kind == "tensor":
        return {t.name: from_cells(examples["tensors"][t.name][which], t) for t in own.tensors}
    columns = {name: [_null(v) for v in cells][which] for name, cells in examples["columns"].items()}
    return decoder_of(own).of_mapping(columns).batch


def _null(value: Any) -> Any:
    return None if isinstance(value, float) and value != value else value  # noqa: PLR0124 - only NaN differs from itself
