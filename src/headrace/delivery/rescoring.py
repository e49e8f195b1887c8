"""Logged requests once more: which of them a candidate can score together, and what it makes of each."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headrace.errors import HeadraceError, RunFailed, SignatureError, UsageError
from headrace.models.params import Params, checked_params
from headrace.models.runtime import Batch
from headrace.serving.outcome import passes
from headrace.serving.outputs import checker
from headrace.serving.records import DEFAULT, Prediction
from headrace.serving.tensors import Decoder
from headrace.serving.tuned import told
from headrace.serving.versions import Model

Failed = Callable[[Prediction, str], None]
"""Told of a request without a score, and why there is none."""


class Call(NamedTuple):
    """What a model is asked: a batch, and the parameters that the callers of its rows said."""

    batch: Batch
    params: Params

    def score(self, model: Model) -> Any:
        """A model's answers, told these parameters as a gateway tells them."""
        return told(model.loaded, model.signature, self.params).score(self.batch)


Part = tuple[Sequence[Prediction], Mapping[str, Any], Call]
"""Requests that were scored in one call, the answers to all their rows, and the call."""


def alike(page: Sequence[Prediction], signature: str) -> list[list[Prediction]]:
    """Requests with the same columns, parameters and as many values a row together, as the endpoint's may have changed.

    Left out are those that the default answered, and those that asked by another signature than the one named.
    """
    groups: defaultdict[tuple[Any, ...], list[Prediction]] = defaultdict(list)
    for prediction in page:
        if prediction.winner != DEFAULT and prediction.outputs and prediction.signature == signature:
            answered = tuple((name, _values(rows)) for name, rows in prediction.outputs.items())
            params = tuple(sorted((name, repr(value)) for name, value in prediction.params.items()))
            groups[tuple(prediction.columns), prediction.masked, params, answered].append(prediction)
    return list(groups.values())


def hidden(candidate: Model, one: Prediction) -> list[str]:
    """What the candidate takes and the log holds hashes of only, in a request like this."""
    taken = [field.name for field in candidate.signature.inputs]
    return [name for name in (*taken, *one.params) if name in one.masked]


def scored(candidate: Model, decoder: Decoder, group: Sequence[Prediction], failed: Failed) -> Iterator[Part]:
    """The candidate's answers to requests that are alike: in one call, or, where one of them fails it, in several.

    Args:
        candidate: Loaded.
        decoder: Of its signature.
        group: Requests that are alike.
        failed: Told of each for which there is no score.

    Raises:
        SignatureError: The candidate takes what requests like these do not have.
        RunFailed: It cannot be asked at all any more.
    """
    missing = [name for name in decoder.names if name not in group[0].columns]
    if missing:
        why = "the logged requests have no such column"
        raise SignatureError(f"{candidate.name} takes {', '.join(missing)}", why=why)
    signature = candidate.signature
    try:
        params = checked_params(signature.params, group[0].params)
    except SignatureError as error:
        fix = "replay a model that takes it"
        raise SignatureError(error.what, where=candidate.name, why=error.why, fix=fix) from None
    yield from _asked(candidate, params, decoder, group, failed)


def _asked(
    candidate: Model, params: Params, decoder: Decoder, group: Sequence[Prediction], failed: Failed
) -> Iterator[Part]:
    given = decoder.of_mapping({name: [cell for p in group for cell in p.columns[name]] for name in decoder.names})
    call = Call(given.batch, params)
    try:
        answers = checker(candidate.signature, candidate.shapes)(call.score(candidate), given.count)
    except Exception as error:
        # A model may raise whatever it likes. What is wrong with its process or its files is no answer to a request.
        if isinstance(error, HeadraceError) and (type(error) is not RunFailed or passes(str(error))):
            raise
        why = str(error) if isinstance(error, HeadraceError) else f"{type(error).__name__}: {error}"
    else:
        yield group, answers, call
        return
    if len(group) == 1:
        failed(group[0], why)
        return
    half = len(group) // 2
    for part in (group[:half], group[half:]):
        yield from _asked(candidate, params, decoder, part, failed)


def flat(values: Any) -> NDArray[Any]:
    """An output as numbers: [rows], or [rows, values of a row]."""
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError("text answers cannot be replayed", why="numbers are compared") from error
    return found if found.ndim == 1 else found.reshape(len(found), -1)


def _values(rows: Sequence[Any]) -> int:
    """How many values a row's answer has; 0 where it is one, and not a list of it."""
    return len(rows[0]) if rows and isinstance(rows[0], list) else 0
