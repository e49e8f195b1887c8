"""Requests that say parameters: checked against the signature, and carried beside their rows."""

from collections.abc import Hashable
from typing import Any

import msgspec

from headrace.errors import SignatureError
from headrace.models.params import Params, checked_params
from headrace.models.runtime import Batch, Loaded, Tunable
from headrace.models.signature import Signature
from headrace.serving.request import Input

_key = msgspec.json.Encoder(order="deterministic").encode


class TunedInput:
    """An ``Input`` whose caller said parameters.

    Args:
        given: Its rows.
        params: Those that it said, checked; what it left out is each model's default.
        unused: Whether it said some to a model that declares none.

    Attributes:
        rows: The same rows.
        key: Equal where the parameters are.
    """

    __slots__ = ("batch", "cells", "count", "joined", "key", "params", "rows", "unused")

    def __init__(self, given: Input, params: Params, *, unused: bool = False) -> None:
        self.rows = given
        self.batch: Batch = given.batch
        self.cells: Any = given.cells
        self.joined = given.joined
        self.count, self.params, self.unused = given.count, params, unused
        self.key: Hashable = _key(params)

    def over(self, given: Input) -> "TunedInput":
        """The same parameters with other rows: those that features were joined to."""
        return TunedInput(given, self.params, unused=self.unused)


def tuned(given: Input, signature: Signature, params: Any) -> Input:
    """The input with parameters, as a parser found them; itself when none are said.

    Raises:
        SignatureError: They are no mapping, or the model declares none of that name, or another type.
    """
    if params is None or params == {}:
        return given
    if not isinstance(params, dict):
        raise SignatureError("params are refused", why="an object of names and values is due")
    return TunedInput(given, checked_params(signature.params, params))


def key_of(given: Input) -> Hashable:
    """Requests with equal ones may share a call."""
    return given.key if isinstance(given, TunedInput) else b""


def told(loaded: Loaded, signature: Signature, params: Params) -> Loaded:
    """The model, told those of the parameters that it takes; the others are of models beside it."""
    own = {param.name: params[param.name] for param in signature.params if param.name in params}
    return loaded.tuned(own) if own and isinstance(loaded, Tunable) else loaded
