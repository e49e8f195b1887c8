"""A model of PyTorch as one of arrays."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headrace.models.feeding import Called


def quiet() -> None:
    """One thread a model, and no warning on what the model's author cannot change here."""
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    warnings.simplefilter("ignore")


def of_arrays(call: Callable[[list[Any]], Any]) -> Called:
    """A model that takes and returns tensors, as one that takes and returns arrays."""

    def called(arrays: list[NDArray[Any]]) -> Any:
        with torch.inference_mode():
            # A batch that travelled is read-only memory, and a model may write into what it is given.
            return _arrays(call([torch.from_numpy(np.require(a, requirements=["C", "W"])) for a in arrays]))

    return called


def _arrays(answer: Any) -> Any:
    if isinstance(answer, Mapping):
        return {name: _array(part) for name, part in answer.items()}
    return [_array(part) for part in answer] if isinstance(answer, (tuple, list)) else _array(answer)


def _array(part: Any) -> NDArray[Any]:
    return np.asarray(part.detach().numpy())
