"""TensorFlow Serving's classify and regress: examples are features by name, with a context that all of them share."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from headrace.errors import SignatureError, UsageError
from headrace.gateway.answers import encode
from headrace.gateway.depth import passing_over
from headrace.gateway.http import Response
from headrace.gateway.row_limit import SUSPECT_BYTES, check_examples, check_rows
from headrace.gateway.tf_example import serialised
from headrace.models.signature import Column, Signature, Tensor
from headrace.models.tensors import text_of, to_cells
from headrace.serving.rendezvous import Answer
from headrace.serving.request import ROWS_LIMIT, Input
from headrace.serving.tensors import Decoder, TensorDecoder


class _LooseAsked(msgspec.Struct):
    examples: Annotated[list[dict[str, Any]], Meta(max_length=ROWS_LIMIT)] | None = None
    context: dict[str, Any] = {}
    signature_name: str = ""


class _Asked(_LooseAsked, forbid_unknown_fields=True):
    pass


_asked = msgspec.json.Decoder[_LooseAsked](_Asked)
_loose = msgspec.json.Decoder(_LooseAsked)


def parse_examples(decoder: Decoder, body: bytes) -> tuple[Input, str]:
    """The request's rows and its ``signature_name``.

    Raises:
        UsageError: The request has no examples, or they are no objects.
        SignatureError: Features do not fit the signature, or the context repeats one of an example's.
    """
    if len(body) > SUSPECT_BYTES and takes_examples(decoder.signature):
        check_examples(body)
    elif len(body) > SUSPECT_BYTES:
        check_rows(decoder, body)
    try:
        try:
            asked = _asked.decode(body)
        except msgspec.ValidationError as error:
            asked = passing_over(_loose, body, error)
    except msgspec.ValidationError as error:
        raise _said(error) from None
    if asked.examples is None:
        raise UsageError("When method is classify or regress, key 'examples' is expected and was not found")
    if not asked.examples:
        raise UsageError("'examples' value is an empty array")
    return of_examples(decoder, asked.examples, asked.context), asked.signature_name


def of_examples(decoder: Decoder, examples: Sequence[Mapping[str, Any]], context: Mapping[str, Any]) -> Input:
    """The rows that examples and the features they share make.

    Raises:
        SignatureError: Features do not fit the signature, or the context repeats one of an example's.
    """
    if takes_examples(decoder.signature):
        for number, example in enumerate(examples):
            _check_context(context, example, number)
        return of_serialised(decoder, [serialised({**context, **example}) for example in examples])
    fields = {f.name: f for f in decoder.signature.inputs}
    strange = context.keys() - set(decoder.sent)
    if strange:  # refused here, or each example would carry it
        raise SignatureError(f"column {min(strange)!r} is not an input of this model", where="context")
    records = []
    for number, example in enumerate(examples):
        _check_context(context, example, number)
        features = {**context, **example}
        records.append({name: _feature(name, value, fields.get(name)) for name, value in features.items()})
    return decoder.of_records(records)


def takes_examples(signature: Signature) -> bool:
    """Whether a model takes serialised examples, as TensorFlow Serving has it: one input of bytes called ``inputs``."""
    return signature.inputs == (Tensor("inputs", "bytes", (-1,)),)


def of_serialised(decoder: Decoder, examples: Sequence[bytes]) -> Input:
    """The rows that serialised examples make for a model that takes these.

    Raises:
        SignatureError: There are none.
    """
    assert isinstance(decoder, TensorDecoder)
    cells = np.empty(len(examples), np.object_)
    cells[:] = examples
    return decoder.of_arrays({decoder.names[0]: cells})


def check_outputs(method: str, signature: Signature) -> None:
    """Raise ``UsageError`` when this method cannot put the signature's outputs into words."""
    wide = [f for f in signature.outputs if isinstance(f, Tensor) and f.shape not in {(-1,), (-1, 1)}]
    if method == "regress" and (len(signature.outputs) != 1 or wide):
        raise UsageError("Expected one value per example", why="the model gives more", fix="use :predict")
    if method == "classify" and any(len(f.shape) != 2 for f in wide):  # noqa: PLR2004 - rows and classes
        raise UsageError("Expected scores of shape [examples, classes]", fix="use :predict")


def classify_reply(answer: Answer) -> Response:
    """Pairs of label and score, by example."""
    return Response(200, encode({"results": classes_of(answer)}))


def regress_reply(answer: Answer) -> Response:
    """One value an example."""
    return Response(200, encode({"results": values_of(answer)}))


def classes_of(answer: Answer) -> list[list[tuple[str, Any]]]:
    """Pairs of label and score, by example.

    Outputs named ``classes`` and ``scores`` are just that; without the one labels are empty, without the other scores
    are 0. Otherwise the columns of the only output are the classes, labelled by their position, or each output is a
    class of its own name.
    """
    outputs = {name: np.asarray(values) for name, values in answer.outputs.items()}
    if outputs.keys() <= {"classes", "scores"}:
        (first, *_) = outputs.values()
        blanks = {"classes": np.full(first.shape, "", np.object_), "scores": np.zeros(first.shape)}
        columns = (to_cells(np.atleast_2d(outputs.get(name, blank).T).T) for name, blank in blanks.items())
        return [list(zip(map(str, c), s, strict=True)) for c, s in zip(*columns, strict=True)]
    if len(outputs) == 1 and next(iter(outputs.values())).ndim > 1:
        (scores,) = outputs.values()
        labels: Sequence[str] = [str(i) for i in range(scores.shape[1])]
    else:
        scores, labels = np.column_stack(list(outputs.values())), list(outputs)
    return [list(zip(labels, row, strict=True)) for row in scores.tolist()]


def values_of(answer: Answer) -> list[Any]:
    """One value an example."""
    (values,) = answer.outputs.values()
    found: list[Any] = np.asarray(values).ravel().tolist()
    return found


def _check_context(context: Mapping[str, Any], example: Mapping[str, Any], number: int) -> None:
    again = context.keys() & example.keys()
    if again:
        raise SignatureError(f"feature {min(again)!r} is in the context and in example {number}")


def _feature(name: str, value: Any, field: Column | Tensor | None) -> Any:
    """A feature as the decoder takes it: a list of one is its value where one is due, and the other way round."""
    rank = len(field.shape) if isinstance(field, Tensor) else 1
    cells = value if isinstance(value, list) else [value]
    if not isinstance(field, Tensor) or field.dtype != "bytes":
        cells = [_text(name, cell) if isinstance(cell, dict) else cell for cell in cells]
    single = len(cells) == 1 if isinstance(value, list) else True
    return cells[0] if rank == 1 and single else cells


def _text(name: str, value: Mapping[str, Any]) -> str:
    try:
        return text_of(dict(value))
    except SignatureError as error:
        raise SignatureError(f"feature {name!r} is refused", why=str(error)) from None


def _said(error: msgspec.ValidationError) -> UsageError:
    text = str(error)
    if "$.signature_name" in text:
        return UsageError("'signature_name' key must be a string value.")
    if "$.examples[" in text and "`object`" in text:
        return UsageError("Example must be JSON object", why=text)
    if "`$.examples`" in text:
        return UsageError("Expecting 'examples' value to be an list/array", why=text)
    return UsageError("this is no classify or regress request", why=text)
