"""Codec for fitted scikit-learn estimators."""

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sklearn

from headrace.errors import RunFailed
from headrace.pipelines.ports import Stored
from headrace.settings import Settings
from headrace.storage.tables import Tables

_FILE = "estimator.pickle"


class SklearnCodec:
    """Estimators of scikit-learn and of what builds on it, between steps of a project.

    Pickle stays inside the project's own store, whose files are verified before they are loaded; what is registered and
    served is another format.
    """

    name = form = "sklearn"

    def fits(self, annotation: Any) -> bool:
        """An estimator class, also of a library or project that derives it from scikit-learn's."""
        ancestors = getattr(annotation, "__mro__", ())
        return any(c.__name__ == "BaseEstimator" and c.__module__ == "sklearn.base" for c in ancestors) or (
            getattr(annotation, "__module__", "").startswith("sklearn.")
        )

    def save(self, value: Any, folder: Path) -> Stored:
        """One pickle; see ``Codec.save``."""
        content = pickle.dumps(value, protocol=5)
        (folder / _FILE).write_bytes(content)
        about = {"class": type(value).__name__, "bytes": len(content), "sklearn": sklearn.__version__}
        return Stored(self.name, self.form, hashlib.sha256(content).hexdigest(), about)

    def load(self, folder: Path, annotation: Any) -> Any:  # noqa: ARG002 - the class is in the file
        """The estimator; see ``Codec.load``.

        Raises:
            RunFailed: It was made by a version of scikit-learn, or of the project, that this one cannot read.
        """
        try:
            with (folder / _FILE).open("rb") as file:
                return pickle.load(file)  # noqa: S301 - our own store, verified
        except (pickle.UnpicklingError, AttributeError, ImportError) as error:
            raise RunFailed(
                "a stored estimator cannot be loaded", where=str(folder), why=str(error), fix="run its step again"
            ) from error


def sklearn_codec(settings: Settings, tables: Callable[[], Tables]) -> SklearnCodec:  # noqa: ARG001 - as every factory
    """Factory ``codec.sklearn``."""
    return SklearnCodec()
