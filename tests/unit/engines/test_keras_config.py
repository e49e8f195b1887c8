"""Hostile Keras models are found by reading their configuration; Keras is not even installed here."""

import json

import pytest

from headrace.engines.keras.config import checked
from headrace.errors import IntegrityError, Refused


def _object(name, config, module="keras.layers", registered=None, **more):
    return {"module": module, "class_name": name, "config": config, "registered_name": registered, **more}


def _model(*layers, **more):
    first = _object("InputLayer", {"batch_shape": [None, 2], "dtype": "float32", "name": "x"})
    return _object("Sequential", {"name": "m", "layers": [first, *layers]}, "keras", **more)


def _read(config):
    return json.loads(checked(json.dumps(config).encode()))


def _dense(**changes):
    zeros = _object("Zeros", {}, "keras.initializers")
    return _object("Dense", {"units": 1, "activation": "relu", "bias_initializer": zeros, **changes})


RELU = _object("function", "relu", "builtins", "function")
SLICE = {"class_name": "__slice__", "config": {"start": None, "stop": 1, "step": None}}
PASSING = [
    _dense(),
    _dense(activation=RELU),
    _dense(dtype=_object("DTypePolicy", {"name": "float32"}, "keras")),
    _object("Bidirectional", {"layer": _object("LSTM", {"units": 2})}),
    _object(
        "GetItem", {"name": "g"}, "keras.src.ops.numpy", "GetItem", inbound_nodes=[{"args": [SLICE], "kwargs": {}}]
    ),
    _object("StringLookup", {"vocabulary": ["a", "b"]}),
    _object("StringLookup", {"vocabulary": None}),
    _model(_dense()),
]


@pytest.mark.parametrize("layer", PASSING, ids=lambda layer: layer["class_name"])
def test_models_of_keras_own_layers_pass_as_they_are(layer):
    assert _read(_model(layer)) == _model(layer)


def test_what_a_model_does_not_need_to_score_is_left_out():
    evil = {"loss": _object("function", "system", "os", "system")}
    assert _read(_model(_model(_dense(), compile_config=evil), compile_config=evil)) == _model(_model(_dense()))


CODE = {"class_name": "__lambda__", "config": {"value": "4wEAAAAAAAAAAAAAAAEAAAACAAAA"}}
DOWNLOAD = _object("function", "get_file", "keras.utils", "get_file")
HOSTILE = {
    # CVE-2024-3660: Lambda layers hold marshalled bytecode, reached by an older way where no module is said.
    "lambda": _object("Lambda", {"function": CODE}),
    "lambda without a module": {"class_name": "Lambda", "config": {"function": ["4wEA", None, None]}},
    "lambda in a value": _dense(activation=CODE),
    "lambda below a wrapper": _object("TimeDistributed", {"layer": _object("Lambda", {"function": CODE})}),
    "lambda with a null module": _object("Lambda", {"function": CODE}, None),
    # CVE-2025-1550: any module is imported, any function of it called.
    "module": _object("function", "system", "os", "system"),
    "module of a layer": _object("Popen", {"args": ["true"]}, "subprocess"),
    "module as activation": _dense(activation=_object("function", "system", "os", "system")),
    "class of a module below keras": _object("Function", {}, "keras.src.ops.function"),
    "keyword of a node": _dense() | {"inbound_nodes": [{"args": [], "kwargs": {"x": DOWNLOAD}}]},
    # CVE-2025-8747: functions of Keras itself are gadgets, get_file writes what it downloads.
    "download": DOWNLOAD,
    "download as builtin": _object("function", "utils.get_file", "builtins", "function"),
    "unsafe mode": _object("function", "enable_unsafe_deserialization", "keras.config", None),
    "loads another": _object("function", "load_model", "keras.saving", None),
    "function with another registered name": _dense(activation=RELU | {"registered_name": "os>system"}),
    # CVE-2025-9905: what an HDF5 file calls a layer is looked up without safe mode; here without a module.
    "older configuration": {"class_name": "Dense", "config": {"units": 1}},
    "no config": {"class_name": "Dense", "module": "keras.layers"},
    # CVE-2025-12058: a vocabulary is read from a path or an address.
    "vocabulary file": _object("StringLookup", {"vocabulary": "/etc/passwd"}),
    "vocabulary address": _object("TextVectorization", {"vocabulary": "http://127.0.0.1/words"}),
    "vocabulary bytes": _object(
        "IntegerLookup", {"vocabulary": {"class_name": "__bytes__", "config": {"value": "/a"}}}
    ),
    # Layers that load other files or pickles, and classes that are not Keras'.
    "saved model": _object("TFSMLayer", {"filepath": "/models/x"}),
    "pickle": _object("TorchModuleWrapper", {"module": {"class_name": "__bytes__", "config": {"value": "gASV"}}}),
    "jax": _object("JaxLayer", {"call_fn": CODE}),
    "custom layer": _object("Mine", {}, None, "package>Mine"),
    "registered over a listed one": _dense() | {"registered_name": "package>Dense"},
    "type spec": {"class_name": "__typespec__", "spec_name": "Popen", "module": "subprocess", "config": ["true"]},
    "name that is no name": _object(["Dense"], {}),
    "module that is no name": _object("Dense", {}, {"keras": 1}),
    "value with a module": SLICE | {"module": "os"},
    "control flow": _object("Map", {}, "keras.src.ops.core", "Map"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_model_of_more_than_keras_own_layers_is_refused(name):
    for config in (_model(HOSTILE[name]), _model(_model(HOSTILE[name])), _model(_dense(), build_config=HOSTILE[name])):
        with pytest.raises((Refused, IntegrityError)):
            _read(config)


def test_a_refusal_names_what_it_met():
    with pytest.raises(Refused, match=r"module 'keras.utils', class_name 'function', registered_name 'get_file'"):
        _read(_model(DOWNLOAD))


@pytest.mark.parametrize("config", [{}, [], "keras", None, _dense(), _object("Model", {}, "keras.src.models.model")])
def test_what_is_no_model_is_refused(config):
    with pytest.raises(Refused):
        _read(config)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 200_000, b'{"a":' * 50_000])
def test_what_is_no_json_is_refused(content):
    with pytest.raises(IntegrityError):
        checked(content)
