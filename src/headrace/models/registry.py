"""The registry: immutable model versions, found by reference and fetched with verified digests.

A version's files lie in one folder of Files with a manifest: the model, ``signature.json``, ``examples.json`` (recorded
rows with the trained model's answers) and, where given, ``profile.json``.
"""

import difflib
import hashlib
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from headrace.errors import Conflict, NotFound, RegistrationRefused
from headrace.models.aliases import aliases
from headrace.models.artifact import Artifact, write_files
from headrace.models.infer import cells_of, examples_frame, signature_of
from headrace.models.signature import Signature
from headrace.models.version import Lineage, ModelVersion
from headrace.refs import Ref, checked_name
from headrace.storage import manifest
from headrace.storage.files import Files
from headrace.storage.ledger import Fact, Ledger
from headrace.storage.stores import Stores

KIND = "model.version"
EXAMPLES = "examples.json"
PROFILE = "profile.json"
SIGNATURE = "signature.json"
ATTEMPTS = 8


@dataclass(frozen=True)
class Registration:
    """What is said about an artifact when it is registered.

    Attributes:
        name: The model (``late``).
        example: Rows with at least the model's inputs; their schema is the signature. For a model of tensors a mapping
            of arrays, batch first.
        licence: Of the training data (``CC0-1.0``).
        nullable: Inputs that may be null, besides those with a null in the example.
        metrics: As measured before.
        lineage: Datasets, steps, run and commit.
        profile: Profile of the training inputs as JSON values, which monitoring compares against.
        answers: For a model of tensors: what the trained model answered the example, one array per output.
        signature: Said outright where the example cannot show it, as a tensor with several extents that vary.
    """

    name: str
    example: Any
    licence: str
    nullable: Sequence[str] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    lineage: Lineage = field(default_factory=Lineage)
    profile: Mapping[str, Any] | None = None
    answers: Mapping[str, Any] = field(default_factory=dict)
    signature: Signature | None = None


def register(stores: Stores, artifact: Artifact, asked: Registration) -> ModelVersion:
    """Keep ``artifact`` as the next version of ``asked.name``; an equal model returns the version it already is.

    Raises:
        RegistrationRefused: The licence or the example is missing, or the example lacks an input.
        NameRefused: The name breaks the naming rule.
    """
    checked_name(asked.name, of="model")
    if not asked.licence:
        raise RegistrationRefused(
            f"model {asked.name} has no licence",
            why="what may be done with it follows from its training data",
            fix="headrace data put <dataset> --licence CC0-1.0, or register(..., licence=...)",
        )
    signature = asked.signature or _signature(artifact, asked)
    contents = _contents(artifact, asked, signature)
    digest = digest_of(contents, signature)
    for _ in range(ATTEMPTS):
        known = versions(stores.ledger, asked.name)
        equal = [version for version in known if version.digest == digest]
        if equal:
            return equal[-1]
        version = replace(_described(artifact, asked, signature), version=len(known) + 1, digest=digest)
        version = _stored(stores.files, version, contents)
        try:
            fact = stores.ledger.append([Fact(KIND, asked.name, version.to_json(), unique=str(version))])[0]
        except Conflict:
            continue
        return _of(fact)
    raise Conflict(f"versions of {asked.name} keep appearing", fix="try again")


def versions(ledger: Ledger, name: str | None = None) -> list[ModelVersion]:
    """All versions of one model, or of all models, oldest first."""
    return [_of(fact) for fact in ledger.query(KIND, name)]


def find(ledger: Ledger, reference: str) -> ModelVersion:
    """The version that ``late`` (the newest), ``late@3`` or ``late@champion`` means now.

    Raises:
        NotFound: No such model, version or alias.
    """
    ref = Ref.parse(reference)
    known = versions(ledger, ref.name)
    if not known:
        names = sorted({version.name for version in versions(ledger)})
        raise NotFound(
            f"no model named {ref.name!r}",
            fix=f"one of {', '.join(names)}" if names else "register one: headrace run <pipeline>",
        )
    if not ref.selector:
        return known[-1]
    moved = aliases(ledger, ref.name)
    wanted = ref.version or moved.get(ref.selector)
    for version in known:
        if version.version == wanted:
            return version
    raise NotFound(
        f"model {ref.name!r} has no {'version' if ref.version else 'alias'} {ref.selector!r}",
        why=f"it has versions 1 to {len(known)}" + (f", aliases {', '.join(sorted(moved))}" if moved else ", no alias"),
        fix=f"headrace models ls {ref.name}" if ref.version else _alias_meant(ref, moved, len(known)),
    )


def _alias_meant(ref: Ref, moved: Iterable[str], newest: int) -> str:
    near = difflib.get_close_matches(ref.selector, moved, 1)
    if near:
        return f"did you mean {ref.name}@{near[0]}?"
    return f"headrace models promote {ref.name}@{newest} --alias {ref.selector}"


def fetch(files: Files, version: ModelVersion) -> Path:
    """A local folder with the version's files, each checked against the digest it was registered with.

    Raises:
        IntegrityError: A file differs from what was registered, or is missing.
        NotFound: The whole folder is gone.
    """
    return manifest.fetch(files, version.folder, version.manifest)


def digest_of(contents: Mapping[str, bytes], signature: Signature) -> str:
    """What a model is: SHA-256 over its files, and over its signature where no file of ``contents`` says it.

    Other examples or another profile of the same model do not make it another model.
    """
    about = {EXAMPLES, PROFILE, manifest.NAME}
    files = {name: content for name, content in contents.items() if name not in about}
    return _digest({SIGNATURE: _json(signature.to_json()), **files})


def profile_of(files: Files, version: ModelVersion) -> dict[str, Any] | None:
    """The training profile of a version's inputs as JSON values; None when it was registered without.

    Raises:
        IntegrityError: A file differs from what was registered.
    """
    path = fetch(files, version) / PROFILE
    return json.loads(path.read_bytes()) if path.exists() else None


def _signature(artifact: Artifact, asked: Registration) -> Signature:
    from headrace.models.tensors import is_arrays, tensor_signature

    if is_arrays(asked.example):
        return tensor_signature(artifact, asked.example, asked.answers)
    return signature_of(artifact, asked.example, nullable=asked.nullable)


def _contents(artifact: Artifact, asked: Registration, signature: Signature) -> dict[str, bytes]:
    from headrace.models.tensors import tensor_examples

    contents = {**artifact.files, SIGNATURE: _json(signature.to_json())}
    if EXAMPLES not in contents and signature.kind == "tensor":
        contents[EXAMPLES] = _json(tensor_examples(signature, asked.example, asked.answers))
    elif EXAMPLES not in contents:
        cells = cells_of(examples_frame(artifact, asked.example))
        contents[EXAMPLES] = _json({"columns": cells, "outputs": {}})
    if asked.profile is not None:
        contents[PROFILE] = _json(asked.profile)
    return contents


def _digest(contents: Mapping[str, bytes]) -> str:
    """SHA-256 over name and SHA-256 of files."""
    total = hashlib.sha256()
    for name in sorted(contents):
        total.update(f"{name} {hashlib.sha256(contents[name]).hexdigest()}\n".encode())
    return total.hexdigest()


def _stored(files: Files, version: ModelVersion, contents: Mapping[str, bytes]) -> ModelVersion:
    prefix = f"models/{_digest(contents)}"
    with tempfile.TemporaryDirectory() as folder:
        write_files(contents, Path(folder))
        written = manifest.store(files, Path(folder), prefix, {"format": version.format})
    return replace(version, folder=prefix, manifest=written.digest)


def _described(artifact: Artifact, asked: Registration, signature: Signature) -> ModelVersion:
    return ModelVersion(
        name=asked.name,
        version=0,
        digest="",
        signature=signature,
        format=artifact.format,
        commit=asked.lineage.commit,
        licence=asked.licence,
        datasets=dict(asked.lineage.datasets),
        steps=dict(asked.lineage.steps),
        metrics=dict(asked.metrics),
        report=dict(artifact.report),
        run=asked.lineage.run,
    )


def _of(fact: Fact) -> ModelVersion:
    return ModelVersion.from_json({**fact.body, "at": fact.at})


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
