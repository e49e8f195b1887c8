"""Register a model that was trained elsewhere, once it answers given examples as it did there."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.errors import ParityFailed, RegistrationRefused, SignatureError, UsageError
from headrace.models.artifact import Artifact
from headrace.models.formats import recognised
from headrace.models.registry import EXAMPLES, Registration, register
from headrace.models.runtime import Runtime, cautious
from headrace.models.scoring import loaded, unpacked
from headrace.models.signature import Signature
from headrace.models.trust import TRUSTED_FILE, check_trust
from headrace.models.version import ModelVersion
from headrace.serving.versions import TOLERANCE, compare
from headrace.storage.stores import Stores


@dataclass(frozen=True)
class Import:
    """What is said of a model that is imported.

    Attributes:
        name: The model.
        signature: What it takes and gives; None for what the model itself declares.
        examples: ``{"columns" or "tensors": {name: cells}, "outputs": {name: cells}, "tolerance": absolute}``: rows
            with what the model answered where it was trained; None for those that come with the model.
        licence: Of the training data.
        trusted: For skops names of types to trust besides the harmless ones; for MLflow ``pickle``.
        signature_name: Which of the signatures that the model declares; empty for its default.
        profile: Of the training inputs, which monitoring compares with; None when there is none.
    """

    name: str
    signature: Signature | None
    examples: Mapping[str, Any] | None
    licence: str
    trusted: Sequence[str] = ()
    signature_name: str = ""
    profile: Mapping[str, Any] | None = None


def imported(stores: Stores, runtime: Callable[[str], Runtime], path: Path, asked: Import) -> ModelVersion:
    """Register the model in ``path`` after a parity check on the examples.

    Args:
        stores: Where it is kept.
        runtime: The runtime for a format.
        path: One plain file, or a folder where the format is one; the format is told by what is in it.
        asked: What is said of it.

    Raises:
        Refused: It is or holds a link, is of no known format, or holds or runs what is not trusted.
        RegistrationRefused: The examples lack an answer or a column, or the licence is missing.
        ParityFailed: The model answers an example otherwise.
        SignatureError: The model does not fit the signature, or declares none of that name.
        UsageError: No signature or no examples are said, and none come with the model.
    """
    format_, files = recognised(path)
    check_trust(format_, asked.trusted, path, files)
    trusted = sorted(set(asked.trusted))
    if trusted:
        files[TRUSTED_FILE] = json.dumps(trusted).encode()
    engine = cautious(runtime(format_))
    signature = asked.signature or _declared(engine, files, asked)
    examples = _examples(engine, files, signature) if asked.examples is None else asked.examples
    files[EXAMPLES] = json.dumps(dict(examples), sort_keys=True).encode()
    inputs, outputs = (tuple(f.name for f in fields) for fields in (signature.inputs, signature.outputs))
    artifact = Artifact(format_, files, inputs, outputs)
    rows = _proven(engine, artifact, ModelVersion(asked.name, 0, "", signature, format_), examples)
    tolerance = float(examples.get("tolerance", TOLERANCE))
    origin = {"file": path.resolve().name} | ({"trusted": ", ".join(trusted)} if trusted else {})
    report = {"parity": {"rows": rows, "tolerance": tolerance}, "imported": origin}
    artifact = Artifact(format_, files, inputs, outputs, report)
    said = Registration(asked.name, None, asked.licence, signature=signature, profile=asked.profile)
    return register(stores, artifact, said)


def _declared(runtime: Runtime, files: Mapping[str, bytes], asked: Import) -> Signature:
    with unpacked(files) as folder:
        signature = runtime.declared(folder, asked.signature_name)
    if signature is None:
        raise UsageError(
            f"a model of format {runtime.format} does not say what it takes and gives",
            fix="--signature signature.json, as headrace models show MODEL --json prints one",
        )
    return signature


def _examples(runtime: Runtime, files: Mapping[str, bytes], signature: Signature) -> Mapping[str, Any]:
    with unpacked(files) as folder:
        examples = runtime.examples(folder, signature)
    if examples is None:
        raise UsageError(
            "--example is missing",
            why="the model brings no rows with what it answers",
            fix="--example FILE, or name a folder that models export wrote",
        )
    return examples


def _proven(runtime: Runtime, artifact: Artifact, version: ModelVersion, examples: Mapping[str, Any]) -> int:
    """Load the artifact and compare its answers; return how many rows were compared."""
    missing = sorted(set(artifact.outputs) - set(examples.get("outputs", ())))
    if missing:
        raise RegistrationRefused(
            f"the examples lack what the model answered as {', '.join(missing)}",
            why="without it nothing shows that the imported model is the trained one",
            fix='{"columns": {"a": [1.0]}, "outputs": {"y": [0.5]}}',
        )
    with loaded(runtime, artifact, version.signature) as model:
        try:
            return compare(version.name, model, version, examples)
        except ParityFailed as error:
            fix = "give answers that this very file gave; or import the file that gave these"
            raise ParityFailed(error.what, where=error.where, why=error.why, fix=fix) from None
        except (KeyError, TypeError, AttributeError, SignatureError) as error:
            raise RegistrationRefused("the examples do not fit the signature", why=str(error)) from error
