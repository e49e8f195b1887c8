"""What a stored version holds: its table, its profile, its contract; each verified when it is read."""

import json
from typing import Any

import narwhals as nw

from headrace.datasets.contract import Contract
from headrace.datasets.profile import Profile
from headrace.datasets.version import CONTRACT, PROFILE, TABLE, DatasetVersion
from headrace.storage import manifest
from headrace.storage.files import Files
from headrace.storage.stores import Stores


def table(stores: Stores, version: DatasetVersion) -> nw.LazyFrame[Any]:
    """The rows, lazily.

    Raises:
        IntegrityError: The stored bytes are not those that were put.
    """
    folder = manifest.fetch(stores.files, version.folder, version.manifest)
    return stores.tables.scan([folder / TABLE])


def profile_of(files: Files, version: DatasetVersion) -> Profile:
    """The statistics taken when it was put."""
    return Profile.from_json(_read(files, version, PROFILE))


def contract_of(files: Files, version: DatasetVersion) -> Contract:
    """The contract it was held against."""
    return Contract.from_json(_read(files, version, CONTRACT))


def _read(files: Files, version: DatasetVersion, name: str) -> Any:
    manifest.fetch(files, version.folder, version.manifest)
    return json.loads(files.get(f"{version.folder}/{name}").read_bytes())
