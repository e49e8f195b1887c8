"""Verbs over models: ``hr.optimize``, ``hr.predict``, ``hr.register``, ``hr.promote``, ``hr.champion_scores``."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack

from headrace.errors import NotFound, RegistrationRefused, UsageError
from headrace.models.artifact import Artifact
from headrace.models.version import Lineage, ModelVersion
from headrace.sdk import ambient
from headrace.sdk.decorators import step

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from headrace.journey.platform import Platform
    from headrace.optimization.converter import Converter

S = TypeVar("S")
CHAMPION = "champion"


class Checks(TypedDict, total=False):
    """How ``optimize`` measures besides parity.

    Attributes:
        check: Scores a model on rows: a step that takes ``(model, rows)``.
        max_drop: Metric to how much worse the artifact may be than the trained model.
    """

    check: Callable[[Any, Any], Any]
    max_drop: Mapping[str, float]


class About(TypedDict, total=False):
    """What else ``register`` may be told.

    Attributes:
        licence: Of the training data; by default what its datasets were put with.
        nullable: Inputs that may be null, besides those with a null in ``example`` or ``train``.
    """

    licence: str
    nullable: Sequence[str]


@step
def optimize(
    model: Any, *, on: Any, output: str, to: str = "onnx", tolerance: float = 1e-4, **checks: Unpack[Checks]
) -> Artifact:
    """Export a trained model and check on every row of ``on`` that the artifact answers alike.

    What was found becomes part of the model's report; in a run the step's log says it too.

    Args:
        model: The trained model.
        on: Rows with at least the model's inputs.
        output: Name of the output: probability of the positive class, or the value.
        to: Format.
        tolerance: Largest difference of an answer that is allowed.
        **checks: ``check`` and ``max_drop``: compare metrics too.

    Raises:
        ParityFailed: Some answer differs by more.
        GateFailed: A metric dropped by more than ``max_drop``.
    """
    from headrace.evaluation.parity import summary
    from headrace.journey.optimize import Optimization, optimized
    from headrace.sdk.tables import taking_tables

    platform, check = ambient.platform(), checks.get("check")
    score = taking_tables(check) if check is not None else None
    asked = Optimization(output, to, tolerance, checks.get("max_drop", {}), score)
    artifact = optimized(_converter(platform, model), platform.runtime(to), model, on, asked)
    if ambient.current() is not None:
        sys.stdout.write(f"parity of {type(model).__name__} as {to}: {summary(artifact.report['parity'])}\n")
    return artifact


@step
def predict(model: Any, rows: Any) -> "NDArray[np.float64]":
    """What a model answers: probability of the positive class, or the value; [rows], several outputs [rows, outputs].

    Args:
        model: A trained model or an ``Artifact``; either way columns are found by name.
        rows: A table with at least the model's inputs.
    """
    from headrace.models.infer import eager, signature_of
    from headrace.models.scoring import answers, batch_of, loaded

    platform, frame = ambient.platform(), eager(rows)
    if not isinstance(model, Artifact):
        converter = _converter(platform, model)
        return converter.predict(model, frame, ())
    signature = signature_of(model, frame)
    with loaded(platform.runtime(model.format), model, signature) as served:
        return answers(served, batch_of(frame, signature), model.outputs)


@step(effect=True)
def register(
    model: Artifact, *, name: str, example: Any, scores: Any = None, train: Any = None, **about: Unpack[About]
) -> ModelVersion:
    """Keep an artifact as the next version of ``name``, with signature, lineage and training profile.

    Under ``headrace run`` it waits for every gate written above it. Called otherwise it does all its checks against a
    scratch registry and leaves nothing behind.

    Args:
        model: What ``optimize`` returned.
        name: Of the model.
        example: Rows with at least the model's inputs; their types become the signature.
        scores: What was measured: a dataclass or a mapping of numbers.
        train: The rows it was trained on: their profile is what monitoring compares with.
        **about: ``licence`` and ``nullable``.

    Raises:
        RegistrationRefused: The licence, the example or one of its columns is missing.
    """
    from headrace.models import registry

    platform = ambient.writable()
    profile, holes = _profiled(model, train)
    asked = registry.Registration(
        name=name,
        example=example,
        licence=about.get("licence") or _licence(platform),
        nullable=[*about.get("nullable", ()), *holes],
        metrics=numbers_of(scores),
        lineage=_lineage(platform),
        profile=profile,
    )
    return registry.register(platform.stores(), model, asked)


@step(effect=True)
def promote(version: ModelVersion | str, alias: str = CHAMPION, why: str = "") -> ModelVersion:
    """Point an alias at a version: ``late@champion`` means it from now on.

    Args:
        version: What ``register`` returned, or a reference (``late@3``).
        alias: The alias to move.
        why: For people who read the history.
    """
    from headrace.delivery.promotion import promote as moved
    from headrace.delivery.requirements import read_requirements
    from headrace.models.aliases import Move
    from headrace.models.registry import find

    platform, running = ambient.writable(), ambient.current()
    ledger, gates = platform.ledger(), running.gates if running else ()
    requirements = read_requirements(platform.settings.promotion)
    moved(ledger, version, Move(alias, 0, why=why, gates=gates), requirements)
    return find(ledger, str(version))


def champion_scores(name: str, kind: type[S]) -> S | None:
    """The scores that the champion of ``name`` was registered with; None when there is no champion.

    While a pipeline is planned the champion is fixed: one that is promoted meanwhile does not change the run.

    Args:
        name: The model.
        kind: A dataclass of numbers; its fields are read from the champion's metrics.

    Raises:
        UsageError: ``kind`` is no dataclass, or the champion lacks one of its metrics.
    """
    if not is_dataclass(kind):
        raise UsageError(f"{kind.__name__} is no dataclass", fix="@dataclass(frozen=True) class Scores: auc: float")
    version = champion(name)
    if version is None:
        return None
    missing = [f.name for f in fields(kind) if f.name not in version.metrics]
    if missing:
        raise UsageError(
            f"the champion {version} has no metric {', '.join(missing)}",
            why=f"it was registered with {', '.join(version.metrics) or 'none'}",
            fix=f"register(..., scores=...) with a {kind.__name__}, and promote that version",
        )
    return kind(**{f.name: version.metrics[f.name] for f in fields(kind)})


def champion(name: str) -> ModelVersion | None:
    """The version that ``<name>@champion`` means; None when there is none. Fixed while a pipeline is planned."""
    from headrace.models.aliases import KIND
    from headrace.models.registry import find

    ledger, plan = ambient.platform().ledger(), ambient.planning()
    if plan is not None:
        plan.latest(ledger, KIND, name)
    try:
        return find(ledger, f"{name}@{CHAMPION}")
    except NotFound:
        return None


def numbers_of(scores: Any) -> dict[str, float]:
    """The numbers of a scores dataclass or mapping, by name; none for None."""
    values = scores if isinstance(scores, Mapping) else vars(scores) if scores is not None else {}
    return {name: float(value) for name, value in values.items() if isinstance(value, int | float)}


def _converter(platform: "Platform", model: Any) -> "Converter":
    module = type(model).__module__.partition(".")[0]
    try:
        converter = platform.converter(module)
    except UsageError as error:
        raise UsageError(
            f"no engine exports a {type(model).__name__}", where=module, why=str(error), fix="train with scikit-learn"
        ) from error
    return converter


def _profiled(model: Artifact, train: Any) -> tuple[dict[str, Any] | None, list[str]]:
    """The training profile of the model's inputs, and those of them that hold nulls."""
    if train is None:
        return None, []
    import narwhals as nw

    from headrace.datasets.profile import profile

    found = profile(nw.from_native(train), columns=list(model.inputs))
    return found.to_json(), [name for name, column in found.columns.items() if column.nulls or column.nans]


def _lineage(platform: "Platform") -> Lineage:
    from headrace.sdk.commit import commit_of

    running = ambient.current()
    commit = commit_of(platform.settings.root)
    if running is None:
        return Lineage(commit=commit)
    return Lineage(dict(running.datasets), dict(running.steps), running.run, commit)


def _licence(platform: "Platform") -> str:
    """Of all datasets that the model is made from, in SPDX terms; empty outside a run."""
    from headrace.datasets.catalogue import find

    running = ambient.current()
    found: dict[str, None] = {}
    for reference in running.datasets if running else ():
        licence = find(platform.ledger(), reference).licence
        if not licence:
            raise RegistrationRefused(
                f"dataset {reference} has no licence",
                why="what may be done with a model follows from its data",
                fix=f"headrace data put ... --name {reference.partition('@')[0]} --licence CC0-1.0",
            )
        found[licence] = None
    return " AND ".join(found)
