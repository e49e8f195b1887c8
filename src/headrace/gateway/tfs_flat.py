"""Values where a model takes rows of one value.

TensorFlow Serving's clients send ``[1.0, 2.0]`` for ``[[1.0], [2.0]]`` as well, and are answered as they asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from headrace.gateway.oip_request import InputTensor, Sent
from headrace.models.signature import Signature, Tensor
from headrace.serving.request import Input
from headrace.serving.tensors import Decoder, TensorDecoder, TensorInput
from headrace.serving.tuned import TunedInput

_ROWS_OF_ONE = (-1, 1)


def flat_decoder(decoder: Decoder) -> TensorDecoder | None:
    """What reads requests whose rows of one value are values; None when the model takes no such rows."""
    tensors = decoder.signature.tensors
    if not any(tensor.shape == _ROWS_OF_ONE for tensor in tensors):
        return None
    flat = tuple(replace(t, shape=(-1,)) if t.shape == _ROWS_OF_ONE else t for t in tensors)
    return TensorDecoder(replace(decoder.signature, inputs=flat))


def upright(given: Input, signature: Signature) -> Input:
    """What ``flat_decoder`` read, as the model takes it."""
    batch = {t.name: given.batch[t.name] for t in signature.tensors}
    ones = [t.name for t in signature.tensors if t.shape == _ROWS_OF_ONE]
    made = TensorInput({**batch, **{name: batch[name].reshape(-1, 1) for name in ones}}, given.count)
    return TunedInput(made, given.params) if given.params else made


def made_upright(
    pairs: Sequence[tuple[InputTensor, Sent]], decoder: Decoder
) -> tuple[Sequence[tuple[InputTensor, Sent]], bool]:
    """Tensors of values made rows of one, where the model takes these; and whether there was one."""
    ones = decoder.parsers.get("tfs_ones")
    if ones is None:
        ones = {tensor.name for tensor in decoder.signature.tensors if tensor.shape == _ROWS_OF_ONE}
        decoder.parsers["tfs_ones"] = ones
    if not ones:
        return pairs, False
    flat = [len(item.shape) == 1 and item.name in ones for item, _ in pairs]
    made = [
        (InputTensor(item.name, [*item.shape, 1], item.datatype), np.asarray(sent)[:, None])
        if is_flat
        else (item, sent)
        for (item, sent), is_flat in zip(pairs, flat, strict=True)
    ]
    return made, any(flat)


def flattened(outputs: Mapping[str, Any], signature: Signature) -> dict[str, Any]:
    """Answers whose rows have one value, as values."""
    ones = {o.name for o in signature.outputs if isinstance(o, Tensor) and o.shape == _ROWS_OF_ONE}
    return {name: np.asarray(found)[:, 0] if name in ones else found for name, found in outputs.items()}
