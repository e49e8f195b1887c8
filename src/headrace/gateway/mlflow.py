"""MLflow's scoring protocol (3.17), which is also SageMaker's: ``/invocations`` for the server's first endpoint.

JSON bodies hold exactly one of ``dataframe_split``, ``dataframe_records``, ``instances`` and ``inputs``, or are a list
of records; ``params`` are those of the model. CSV and Parquet are tables. A body that is no such thing is 400; one that
does not fit the model's signature (unnamed, missing or extra columns or params, wrong types) is 422. A model that
declares no params at all is answered without them, as MLflow does it, and a header of the reply says so.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from headrace import __version__
from headrace.errors import HeadraceError, SignatureError, Unavailable, UsageError
from headrace.gateway.answers import Respond, by_rows, encode, parse, single, unused, wrong_method
from headrace.gateway.depth import check_text, check_value, passing_over
from headrace.gateway.faults import retry_after, said, status_of
from headrace.gateway.http import TEXT, Request, Response, Send
from headrace.gateway.numbers import of_columns, of_rows
from headrace.gateway.parquet import PARQUET, of_parquet
from headrace.gateway.routes import HEALTH, READ, SCORE, route
from headrace.gateway.row_limit import SUSPECT_BYTES, check_rows
from headrace.gateway.tables import CSV, of_csv
from headrace.models.params import NO_PARAMS
from headrace.serving.dataplane import DataPlane
from headrace.serving.rendezvous import Answer, Live
from headrace.serving.request import ROWS_LIMIT, Input, plain_words
from headrace.serving.tensors import Decoder
from headrace.serving.tuned import TunedInput, tuned

Cell = float | int | str | bool | None
_TYPES = ("application/json", CSV, PARQUET)
_CODES = {
    400: "BAD_REQUEST",
    404: "RESOURCE_DOES_NOT_EXIST",
    429: "REQUEST_LIMIT_EXCEEDED",
    503: "TEMPORARILY_UNAVAILABLE",
}
_RECORDS = re.compile(r"Expected `(object`, got `array` - at `\$\.inputs`|array`, got `[^`]*` - at `\$\.inputs\.)")
_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


_texts = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _LooseSplit(msgspec.Struct):
    columns: list[str] | UnsetType = UNSET
    data: Annotated[list[list[Cell]], Meta(max_length=ROWS_LIMIT)] = []
    index: msgspec.Raw = msgspec.Raw(b"")


class _Split(_LooseSplit, forbid_unknown_fields=True):
    pass


class MlflowScoring:
    """``/invocations``, ``/ping``, ``/health`` and ``/version`` over a data plane."""

    routes = (route("/invocations", SCORE), route("/(ping|health)", HEALTH), route("/version", READ))

    def __init__(self, plane: DataPlane) -> None:
        self._plane, self._respond = plane, Respond(plane, _error)

    def __call__(self, request: Request, path: str, send: Send) -> None:
        """Answer one of the four."""
        scores = path == "/invocations"
        refusal = wrong_method(request, *((b"POST",) if scores else (b"GET", b"HEAD")))
        if refusal is not None:
            send(refusal)
        elif scores:
            self._invoke(request, send)
        elif path == "/version":
            send(Response(200, __version__.encode(), TEXT))
        else:
            send(Response(200 if self._plane.ready else 404, b"\n", TEXT))

    @staticmethod
    def lost(_request: Request, _path: str, send: Send) -> None:
        """Answer a request to a path below these."""
        send(Response(404, b"\n", TEXT))

    def _invoke(self, request: Request, send: Send) -> None:
        kind, refusal = _content_type(request.headers.get(b"content-type", b"application/json"))
        if refusal:
            send(Response(415, refusal.encode(), TEXT))
            return
        try:
            names = self._plane.names
            if not names:
                raise Unavailable("nothing is deployed yet")
            live = self._plane.live(names[0])
            if kind == PARQUET:
                self._later(live, request, send)
                return
            parsed = parse(live, request.body, of_csv if kind == CSV else _parse)
            render = _render_unused if isinstance(parsed, TunedInput) and parsed.unused else _render
            self._respond(live, parsed, render, request, send)
        except HeadraceError as error:
            send(_error(error))

    def _later(self, live: Live, request: Request, send: Send) -> None:
        """Read Parquet on a thread; the deployment is kept open meanwhile."""

        def read(done: "asyncio.Future[Input]") -> None:
            live.open -= 1
            try:
                self._respond(live, done.result(), _render, request, send)
            except HeadraceError as error:
                live.counters.refused += isinstance(error, UsageError)
                send(_error(error))
            except Exception as error:  # noqa: BLE001 - whatever a reader of foreign files raises, one reply is due
                send(_error(UsageError("the body is no Parquet file", why=type(error).__name__)))

        live.open += 1
        work = asyncio.to_thread(of_parquet, live.decoder, request.body)
        asyncio.ensure_future(work, loop=live.loop).add_done_callback(read)


def _content_type(said: bytes) -> tuple[str, str]:
    """The type of a body, and why it is refused, or nothing."""
    kind, *parameters = said.decode("latin-1").split(";")
    kind = kind.strip().lower()
    if kind not in _TYPES:
        return kind, f"This predictor only supports {', '.join(_TYPES)}, got {kind!r}."
    for parameter in parameters:
        key, _, value = parameter.strip().lower().partition("=")
        if key != "charset" or value.strip('"') not in {"utf-8", "utf8"}:
            return kind, f"Unrecognized content type parameter: {parameter.strip()!r}."
    return kind, ""


def _parse(decoder: Decoder, body: bytes) -> Input:
    if len(body) > SUSPECT_BYTES:
        check_rows(decoder, body)
        if (found := _large(decoder, body)) is not None:
            return found
    try:
        given = _decoded(decoder, body, "mlflow", decoder.columns)
    except msgspec.ValidationError as error:
        if _RECORDS.match(str(error)) and decoder.signature.kind == "table":
            return _of_records(decoder, body)
        cell, _, place = str(error).partition(" - at `$.dataframe_split.")
        if not place:
            raise
        raise SignatureError(
            "a cell is refused", where=f"dataframe_split.{place[:-1]}", why=plain_words(cell)
        ) from None
    return _input(decoder, given, decoder.of_columns)


def _large(decoder: Decoder, body: bytes) -> Input | None:
    """Many numbers, without making lists of them; None of what is to be read otherwise."""
    if body.lstrip()[:1] == b"[":
        return of_rows(decoder, body)
    texts = _texts.decode(body)
    if len(texts) != 1:
        return None
    ((form, text),) = texts.items()
    read = {"instances": of_rows, "inputs": of_columns}.get(form)
    return None if read is None else read(decoder, text)


def _input(decoder: Decoder, given: Any, of_inputs: Callable[[Any], Input]) -> Input:
    """What a body holds, in the only form that it may hold."""
    if isinstance(given, list):
        return decoder.of_rows(given)
    if given.params:
        check_value(given.params, around=1)
    found = _rows(decoder, given, of_inputs)
    if decoder.signature.params:
        return tuned(found, decoder.signature, given.params)
    return TunedInput(found, NO_PARAMS, unused=True) if given.params else found


def _rows(decoder: Decoder, given: Any, of_inputs: Callable[[Any], Input]) -> Input:
    forms = [form for form in _FORMS if getattr(given, form) is not UNSET]
    if len(forms) != 1:
        raise UsageError(
            f"The input must hold exactly one of {', '.join(_FORMS)}", why=f"it holds {', '.join(forms) or 'none'}"
        )
    value = getattr(given, forms[0])
    if forms[0] == "dataframe_split":
        return _of_split(decoder, value)
    return of_inputs(value) if forms[0] == "inputs" else decoder.of_rows(value)


def _of_records(decoder: Decoder, body: bytes) -> Input:
    """``inputs`` as MLflow's clients may send them to a model of columns: a list of records, or the only one."""
    given = _decoded(decoder, body, "mlflow_records", decoder.many_rows | decoder.row)
    return _input(decoder, given, lambda value: decoder.of_rows(value if isinstance(value, list) else [value]))


def _decoded(decoder: Decoder, body: bytes, form: str, inputs: Any) -> Any:
    """What a parser makes of a body, compiled at its first: one that refuses, or passes over, what MLflow has not."""
    parser = decoder.parsers.get(form)
    if parser is None:
        parser = decoder.parsers[form] = _compiled(decoder, inputs, strict=True)
    try:
        return parser.decode(body)
    except msgspec.ValidationError as error:
        loose = decoder.parsers.get(f"{form}_loose")
        if loose is None:
            loose = decoder.parsers[f"{form}_loose"] = _compiled(decoder, inputs, strict=False)
        return passing_over(loose, body, error)


def _compiled(decoder: Decoder, inputs: Any, *, strict: bool) -> Any:
    rows = decoder.many_rows | UnsetType
    fields: list[Any] = [
        ("dataframe_split", (_Split if strict else _LooseSplit) | UnsetType, UNSET),
        ("dataframe_records", rows, UNSET),
        ("instances", rows, UNSET),
        ("inputs", inputs | UnsetType, UNSET),
        ("params", Any if decoder.signature.params else dict[str, Any] | None, None),
    ]
    # A bare list of records is what clients send who have read no documentation; it is no less clear.
    named = msgspec.defstruct("Invocation", fields, forbid_unknown_fields=strict)
    return msgspec.json.Decoder(named | decoder.many_rows)


def _of_split(decoder: Decoder, split: _LooseSplit) -> Input:
    if split.index:
        check_text(bytes(split.index), around=2)
    if split.columns is UNSET:
        raise SignatureError(
            "unnamed input is refused", why=f"this model takes the columns {', '.join(decoder.sent)} by name"
        )
    names: Sequence[str] = split.columns
    if len(set(names)) != len(names):
        raise SignatureError("a column is named twice", where="dataframe_split/columns")
    for index, row in enumerate(split.data):
        if len(row) != len(names):
            raise SignatureError(f"row {index} has {len(row)} values", why=f"there are {len(names)} columns")
    columns = zip(*split.data, strict=True) if split.data else [[] for _ in names]
    return decoder.of_mapping(dict(zip(names, map(list, columns), strict=True)))


def _render(_live: Live, answer: Answer) -> Response:
    values = single(answer.outputs)
    return Response(200, encode({"predictions": by_rows(answer.outputs) if values is None else values}))


def _error(error: HeadraceError) -> Response:
    if isinstance(error, SignatureError):
        status, code = 422, "INVALID_PARAMETER_VALUE"
    else:
        status = status_of(error)
        code = _CODES.get(status, "INTERNAL_ERROR")
    return Response(status, encode({"error_code": code, "message": said(error)}), headers=retry_after(error))


def _render_unused(live: Live, answer: Answer) -> Response:
    return unused(_render(live, answer))
