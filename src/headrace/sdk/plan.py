"""Writing plans: what a pipeline's body does while it is planned."""

from collections.abc import Mapping
from typing import Any

from headrace.errors import UsageError
from headrace.pipelines.keys import code_parts
from headrace.pipelines.plan import Node, Plan, Read, renamed
from headrace.pipelines.references import Reference
from headrace.pipelines.steps import StepSpec
from headrace.pipelines.values import Packer
from headrace.sdk.handles import Handle, mark
from headrace.sdk.overrides import overridden
from headrace.storage.ledger import Fact, Ledger, latest


class PlanWriter:
    """Collects the calls of one pipeline body.

    Args:
        pipeline: Its name.
        overrides: Step name to option or parameter to value (``--set``).
    """

    def __init__(self, pipeline: str, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self._pipeline, self._overrides = pipeline, dict(overrides or {})
        self._nodes: list[Node] = []
        self._names: set[str] = set()
        self._reads: list[Read] = []

    def call(self, spec: StepSpec, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Handle:
        """Add a call of a step; its handle."""
        spec, arguments = overridden(spec, spec.bind(args, kwargs), self._overrides.get(spec.name, {}))
        parts = code_parts(spec)
        node = Node(
            spec.name,
            spec.kind,
            function=spec.reference,
            arguments={name: _packed(value, f"{spec.name}({name})") for name, value in arguments.items()},
            parts=parts,
            effect=spec.effect,
            # Code that is in no file (a notebook's) has no key, so what it gave is never taken for what it would give.
            cache=spec.cache and bool(parts["code"]),
            # A worker never imports the script that was started, so that script's own steps stay here.
            main_process=spec.main_process or spec.function.__module__ == "__main__",
        )
        return self._add(node, spec.outputs)

    def source(self, name: str, reference: Reference) -> Handle:
        """Add a value that exists already, such as a dataset version; the same name and value once."""
        for index, node in enumerate(self._nodes):
            if node.kind == "source" and node.name == name and node.value == reference:
                return Handle(index, name)
        return self._add(Node(name, "source", value=reference), None)

    def latest(self, ledger: Ledger, kind: str, subject: str) -> Fact | None:
        """The newest fact of a kind about a subject, remembered: a newer one makes the next run plan anew."""
        fact = latest(ledger, kind, subject)
        self._reads.append(Read(kind, subject, fact.seq if fact else 0))
        return fact

    def finish(self, result: Any) -> Plan:
        """The plan, once the body returned ``result``."""
        unknown = sorted(set(self._overrides) - {n.name for n in self._nodes})
        if unknown:
            known = ", ".join(n.name for n in self._nodes if n.kind != "source")
            raise UsageError(f"no step named {unknown[0]!r} in pipeline {self._pipeline!r}", fix=f"one of {known}")
        return Plan(self._pipeline, tuple(self._nodes), _packed(result, "return"), tuple(self._reads))

    def _add(self, node: Node, parts: int | None) -> Handle:
        node = renamed(node, self._names)
        self._names.add(node.name)
        self._nodes.append(node)
        return Handle(len(self._nodes) - 1, node.name, parts=parts)


class _ArgumentPacker(Packer):
    """Packs arguments: JSON values, and marks for handles and step objects."""

    def pack(self, value: Any, at: str = "value") -> Any:
        if isinstance(value, Handle):
            return mark(value)
        spec = getattr(value, "spec", None) if not isinstance(value, dict | list | tuple) else None
        if isinstance(spec, StepSpec):
            return {"$step": spec.reference, "parts": dict(code_parts(spec))}
        return super().pack(value, at)


def _packed(value: Any, at: str) -> Any:
    return _ArgumentPacker().pack(value, at)
