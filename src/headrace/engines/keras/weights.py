"""The weights of a Keras model, an HDF5 file: walked before Keras reads it, so that it is arrays and nothing else.

HDF5 can take a part of itself from any other file (external links, external storage, virtual datasets), name one thing
twice, unpack little into much and load filters from libraries. Keras writes none of this.
"""

import io
import math

import h5py

from headrace.errors import IntegrityError, Refused

_LAYOUTS = (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT)


def check_weights(content: bytes) -> None:
    """Walk the file.

    Raises:
        Refused: It holds more than arrays of numbers, each stored in full, once, and here.
        IntegrityError: It cannot be read.
    """
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            _check_group(file, set())
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError("the weights cannot be read", where="model.weights.h5", why=str(error)[:300]) from error


def _check_group(group: h5py.Group, seen: set[int]) -> None:
    for name in group:
        where = f"model.weights.h5:{group.name}/{name}"
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise Refused("the weights lie elsewhere", where=where, why=f"{type(link).__name__} {link.path[:100]!r}")
        found = group[name]
        address = h5py.h5o.get_info(found.id).addr
        if address in seen:
            raise Refused("the weights have two names for one part", where=where)
        seen.add(address)
        if isinstance(found, h5py.Group):
            _check_group(found, seen)
        else:
            _check_array(found, where)


def _check_array(found: object, where: str) -> None:
    if not isinstance(found, h5py.Dataset) or found.shape is None or found.dtype.hasobject or found.dtype.fields:
        raise Refused("the weights hold more than arrays of numbers", where=where)
    made = found.id.get_create_plist()
    if made.get_external_count() or made.get_layout() not in _LAYOUTS:
        raise Refused("the weights lie elsewhere or in pieces", where=where, fix="save the model with Keras anew")
    stored, due = found.id.get_storage_size(), math.prod(found.shape) * found.dtype.itemsize
    if made.get_nfilters() or stored < due:
        raise Refused("the weights are not stored in full", where=where, why=f"{stored} bytes, {due} are due")
