"""What an endpoint serves now, as the ledger says."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from headrace.errors import Conflict, NotFound, SignatureError
from headrace.models.signature import Column, Signature, Tensor
from headrace.serving.canary import Canary
from headrace.serving.endpoint import Endpoint
from headrace.storage.ledger import Fact, Ledger

KIND = "endpoint.deployed"
Role = Literal["scheduled", "shadow", "reference", "standby"]
_ATTEMPTS = 8


@dataclass(frozen=True)
class Deployment:
    """An endpoint with its model references resolved, as one ledger fact keeps it.

    Attributes:
        endpoint: What is served.
        models: Each reference of ``endpoint.models`` to the version it meant when deployed (``late@3``).
        who: Person or run that deployed it.
        why: For people.
        gates: Names of the gates that let it through.
        replace_signature: Whether it may take or give something else than what served before.
        restores: ``seq`` of the earlier deployment that this one brings back; 0 when it is new.
        canary: How far the candidate of a canary is; None when there is none.
        instead: Of a version that took over: ``seq`` of the deployment that comes back where it cannot be served; 0 for
            none.
        seq: Position of the fact in the ledger; 0 before it is recorded.
        at: Unix seconds; 0 before it is recorded.
    """

    endpoint: Endpoint
    models: Mapping[str, str]
    who: str = ""
    why: str = ""
    gates: tuple[str, ...] = field(default=())
    replace_signature: bool = False
    restores: int = 0
    canary: Canary | None = None
    instead: int = 0
    seq: int = 0
    at: float = 0.0

    @property
    def roles(self) -> dict[str, Role]:
        """Model version to what it is here; the first of several roles."""
        endpoint = self.endpoint
        by_role: dict[Role, Sequence[str]] = {
            "scheduled": [preference.model for preference in endpoint.schedule],
            "shadow": endpoint.shadows,
            "reference": [endpoint.reference] if endpoint.reference else [],
            "standby": endpoint.standby,
        }
        found: dict[str, Role] = {}
        for role, references in by_role.items():
            for reference in references:
                found.setdefault(self.models[reference], role)
        return found

    def to_json(self) -> dict[str, Any]:
        """The body of the fact."""
        about = {"models": dict(self.models), "who": self.who, "why": self.why, "gates": list(self.gates)}
        deliberate = {"replace_signature": True} if self.replace_signature else {}
        back = {"restores": self.restores} if self.restores else {}
        canary = {"canary": self.canary.to_json()} if self.canary else {}
        instead = {"instead": self.instead} if self.instead else {}
        return {**self.endpoint.to_json(), **about, **deliberate, **back, **canary, **instead}

    @classmethod
    def from_fact(cls, fact: Fact) -> "Deployment":
        """Back from the fact."""
        body = fact.body
        return cls(
            endpoint=Endpoint.from_json(body),
            models=dict(body["models"]),
            who=body.get("who", ""),
            why=body.get("why", ""),
            gates=tuple(body.get("gates", ())),
            replace_signature=body.get("replace_signature", False),
            restores=body.get("restores", 0),
            canary=Canary.from_json(body["canary"]) if "canary" in body else None,
            instead=body.get("instead", 0),
            seq=fact.seq,
            at=fact.at,
        )


def history(ledger: Ledger, name: str | None = None, *, newest: int | None = None) -> list[Deployment]:
    """Deployments of one endpoint (or of all), oldest first."""
    return [Deployment.from_fact(fact) for fact in ledger.query(KIND, name, newest=newest)]


def current(ledger: Ledger, name: str) -> Deployment | None:
    """What is to be served under ``name``, or None when nothing was ever deployed there."""
    found = history(ledger, name, newest=1)
    return found[-1] if found else None


def check_logged(deployed: Deployment | None) -> None:
    """Raise ``NotFound`` where an endpoint keeps no log: for who has found nothing in it."""
    if deployed is not None and deployed.endpoint.log == "off":
        name = deployed.endpoint.name
        raise NotFound(
            f"endpoint {name} logs no requests",
            why='its log is "off"',
            fix=f'log = "durable" in [endpoint.{name}], and headrace serving deploy {name}',
        )


Beside = Callable[[Deployment | None, Deployment], Sequence[Fact]]
"""What is written together with a deployment, given what stood before it, and it."""


def alone(_standing: Deployment | None, _asked: Deployment) -> Sequence[Fact]:
    """A deployment by itself."""
    return ()


def amend(
    ledger: Ledger,
    name: str,
    change: Callable[[Deployment | None], Deployment | None],
    beside: Beside = alone,
) -> Deployment | None:
    """Put another deployment after the one that stands; what somebody else deploys meanwhile is not overwritten.

    Args:
        ledger: Where deployments are.
        name: Of the endpoint.
        change: Given what stands, says what is to follow it; the same, or None, for no change. It is asked again
            when something else stands by then.
        beside: Facts that hold if the deployment does, such as moves of an alias: all are written or none.

    Returns:
        What stands now.

    Raises:
        Conflict: Others kept changing it at the same time.
    """
    for _ in range(_ATTEMPTS):
        standing = current(ledger, name)
        asked = change(standing)
        if asked is None or asked is standing:
            return standing
        mark = f"{name} after {standing.seq if standing else 0}"
        try:
            written = ledger.append([Fact(KIND, name, asked.to_json(), unique=mark), *beside(standing, asked)])
            return Deployment.from_fact(written[0])
        except Conflict:
            continue
    raise Conflict(f"what endpoint {name} serves keeps changing", fix="headrace serving ls, then try again")


def contract(signatures: Mapping[str, Signature]) -> Signature:
    """The signature that callers of an endpoint meet: its first model's, which the others must fit into.

    Args:
        signatures: Model version (``late@3``) to its signature, in order of ``Endpoint.scoring``.

    Raises:
        SignatureError: A model takes an input, or gives an output, that the first does not, or with another type, or
            without the nulls that the first allows.
    """
    (first, due), *rest = signatures.items()
    for name, signature in rest:
        for part in ("inputs", "outputs"):
            allowed: dict[str, Column | Tensor] = {c.name: c for c in getattr(due, part)}
            for column in getattr(signature, part):
                if not _fits(column, allowed.get(column.name)):
                    raise SignatureError(
                        f"{name} cannot share an endpoint with {first}",
                        where=f"{part} {column.name!r}",
                        why=f"{first} has {allowed.get(column.name, 'no such column')}, {name} has {column}",
                        fix="deploy it as an endpoint of its own",
                    )
        _check_params(name, signature, first, due)
    return due


def _check_params(name: str, own: Signature, first: str, due: Signature) -> None:
    """Raise unless a parameter that both take is of one type; what only one takes is for that one alone."""
    allowed = {param.name: param for param in due.params}
    for param in own.params:
        other = allowed.get(param.name, param)
        if (param.kind, param.many) != (other.kind, other.many):
            raise SignatureError(
                f"{name} cannot share an endpoint with {first}",
                where=f"params {param.name!r}",
                why=f"{first} has {other}, {name} has {param}",
                fix="deploy it as an endpoint of its own",
            )


def _fits(own: Column | Tensor, due: Column | Tensor | None) -> bool:
    """Whether what callers send as ``due`` is something a model with ``own`` can take."""
    if isinstance(own, Column) and isinstance(due, Column):
        return own.dtype == due.dtype and (own.nullable or not due.nullable)
    return own == due
