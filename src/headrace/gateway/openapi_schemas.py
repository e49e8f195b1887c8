"""What the gateway's protocols take and give, as JSON Schema made from the signatures that are served."""

from collections.abc import Mapping
from typing import Any

from headrace.gateway.oip_request import DATATYPES
from headrace.models.params import Param
from headrace.models.signature import Column, Signature, Tensor
from headrace.serving.rendezvous import Live

Json = dict[str, Any]

OBJECT: Json = {"type": "object"}
OBJECTS: Json = {"type": "array", "items": OBJECT}
WORDS: Json = {"type": "string"}
BYTES: Json = {"type": "string", "format": "binary"}
_INTEGER_BITS = (8, 16, 32, 64)


def _between(kind: str, low: float, high: float) -> Json:
    return {"type": kind, "minimum": low, "maximum": high}


# Models of tables take float32 whatever their columns say, so a larger number is refused.
_FLOAT = _between("number", -3.4028234663852886e38, 3.4028234663852886e38)
_KINDS: Mapping[str, Json] = {
    "bool": {"type": "boolean"},
    "string": {"type": "string"},
    "bytes": {"type": "string"},
    "float16": _between("number", -65504, 65504),
    "float32": _FLOAT,
    "float64": _FLOAT,
    **{f"int{bits}": _between("integer", -(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in _INTEGER_BITS},
    **{f"uint{bits}": _between("integer", 0, 2**bits - 1) for bits in _INTEGER_BITS},
}
_PARAMS: Mapping[str, Json] = {
    **{kind: _KINDS[kind] for kind in ("bool", "int32", "int64", "string")},
    "float32": {"type": "number"},
    "float64": {"type": "number"},
    "datetime": {"type": "string"},
    "object": OBJECT,
}
_TIME: Json = {"type": ["string", "number"]}


def only(**properties: Json) -> Json:
    """An object that has all of these."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def many(item: Json) -> Json:
    """A list of at least one."""
    return {"type": "array", "items": item, "minItems": 1}


ERROR = only(error=WORDS)
MLFLOW_ERROR = only(error_code=WORDS, message=WORDS)
INDEX: Json = {"type": "object", "properties": {"ready": {"type": "boolean"}}}
PREDICTED: Json = {"anyOf": [only(predictions={"type": "array"}), only(outputs={})]}
RESULTS = only(results={"type": "array"})
INVOKED = only(predictions={})
INFERRED = only(
    model_name=WORDS,
    model_version=WORDS,
    id=WORDS,
    outputs=many(only(name=WORDS, datatype=WORDS, shape={"type": "array", "items": {"type": "integer"}})),
)


def predict(live: Live) -> Json:
    """A predict request of TensorFlow Serving."""
    forms = [only(instances=_rows(live)), only(inputs=_columns(live))]
    for form in forms:
        form["properties"] |= _parameters(live.signature)
    return {"oneOf": forms}


def examples(live: Live) -> Json:
    """A classify or regress request of TensorFlow Serving."""
    return only(examples=many(_by_name(live.decoder.signature)))


def invocation(live: Live) -> Json:
    """A request of MLflow."""
    records = many(_by_name(live.decoder.signature))
    names = {"type": "array", "items": WORDS}
    split = only(columns=names, data={"type": "array", "items": {"type": "array"}})
    forms = [
        only(instances=_rows(live)),
        only(inputs=_columns(live)),
        only(dataframe_records=records),
        only(dataframe_split=split),
    ]
    for form in forms:
        form["properties"] |= {"params": _params(live.signature) or OBJECT}
    return {"oneOf": [*forms, records]}


def infer(signature: Signature) -> Json:
    """A request of the Open Inference Protocol."""
    tensors = [
        only(
            name={"const": field.name},
            shape={"type": "array", "items": {"type": "integer", "minimum": 0}},
            datatype={"const": DATATYPES[field.dtype]},
            data={"type": "array"},
        )
        for field in signature.inputs
    ]
    inputs = {"type": "array", "prefixItems": tensors, "minItems": len(tensors), "maxItems": len(tensors)}
    body = only(inputs=inputs)
    body["properties"] |= {"id": WORDS, "outputs": {"type": "array", "items": only(name=WORDS)}}
    body["properties"] |= _parameters(signature, strict=False)
    return body


def _parameters(signature: Signature, *, strict: bool = True) -> Json:
    """Where the parameters of a model are sent that has some; besides them a protocol may have its own."""
    if not signature.params:
        return {}
    return {"parameters": {**_params(signature), "additionalProperties": not strict}}


def _params(signature: Signature) -> Json:
    """A model's parameters, each with its default; empty where it declares none."""
    if not signature.params:
        return {}
    properties = {param.name: {**_param(param), "default": param.default} for param in signature.params}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _param(param: Param) -> Json:
    kind = _PARAMS[param.kind]
    kind = {**kind, "type": [kind["type"], "null"]} if param.nullable else kind
    return {"type": "array", "items": kind} if param.many else kind


def _rows(live: Live) -> Json:
    row = _by_name(live.decoder.signature)
    if live.decoder.event_time:
        row["properties"] |= {live.decoder.names[-1]: _TIME}
    bare = _bare(live.decoder.signature)
    return many(row if bare is None else {"oneOf": [bare, row]})


def _columns(live: Live) -> Json:
    columns = _by_name(live.decoder.signature, listed=True)
    if live.decoder.event_time:
        columns["properties"] |= {live.decoder.names[-1]: many(_TIME)}
    bare = _bare(live.decoder.signature)
    return columns if bare is None else {"oneOf": [many(bare), columns]}


def _by_name(signature: Signature, *, listed: bool = False) -> Json:
    cells = {field.name: many(_cell(field)) if listed else _cell(field) for field in signature.inputs}
    return {**only(**cells), "additionalProperties": False}


def _bare(signature: Signature) -> Json | None:
    """One row of an only tensor, sent without its name."""
    (first, *others) = signature.inputs
    return None if others or not isinstance(first, Tensor) else _cell(first)


def _cell(field: Column | Tensor) -> Json:
    kind = _KINDS[field.dtype]
    if isinstance(field, Column):
        return {**kind, "type": [kind["type"], "null"]} if field.nullable else kind
    for extent in reversed(field.shape[1:]):
        kind = {"type": "array", "items": kind} | ({} if extent < 0 else {"minItems": extent, "maxItems": extent})
    return kind
