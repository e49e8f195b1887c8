"""Who may take the place of what serves: what takes everything that its callers send, and gives all they read."""

from collections.abc import Sequence
from typing import NamedTuple

from headrace.models.registry import find
from headrace.models.signature import Column, Signature, Tensor
from headrace.serving.deployment import Deployment, contract
from headrace.serving.join import asked
from headrace.storage.ledger import Ledger


class Offer(NamedTuple):
    """What callers of an endpoint go by.

    Attributes:
        signature: What it takes and gives. Its name is not compared: callers cannot ask for a signature by name.
        event_time: A column of a table that they may send besides; empty for none.
    """

    signature: Signature
    event_time: str = ""


class Heir(NamedTuple):
    """One that may follow those before it.

    Attributes:
        offer: What its callers would meet; None while nobody knows.
        deliberate: It may take something else than the one before.
    """

    offer: Offer | None
    deliberate: bool = False


def breaks(heirs: Sequence[Heir]) -> dict[int, str]:
    """Position of each heir that callers of those before it cannot use, to why.

    Args:
        heirs: Oldest first; each is compared with the newest before it that is not itself refused.
    """
    refused: dict[int, str] = {}
    due: Offer | None = None
    for position, heir in enumerate(heirs):
        why = unmet(due, heir.offer) if due and heir.offer and not heir.deliberate else ""
        if why:
            refused[position] = why
        else:
            due = heir.offer or due
    return refused


def unmet(due: Offer, own: Offer) -> str:
    """What callers of ``due`` miss in ``own``; empty when they miss nothing."""
    before, after = due.signature, own.signature
    if before.kind != after.kind:
        return f"callers send a {before.kind}, it takes a {after.kind}"
    unmet = _unmet_inputs(before, after) or _unmet_params(before, after) or _unmet_outputs(before, after)
    return unmet or _unmet_time(due, own)


def offer_of(ledger: Ledger, deployment: Deployment) -> Offer:
    """What callers of a deployment meet, as its versions were registered.

    Raises:
        NotFound: A version is not registered.
        SignatureError: Its models cannot share an endpoint.
    """
    order = dict.fromkeys(deployment.models[reference] for reference in deployment.endpoint.scoring)
    signature = contract({version: find(ledger, version).signature for version in order})
    return Offer(asked(signature, deployment.endpoint.join), deployment.endpoint.event_time)


def _unmet_inputs(due: Signature, own: Signature) -> str:
    sent, taken = {f.name: f for f in due.inputs}, {f.name: f for f in own.inputs}
    for name in sent.keys() - taken.keys():
        return f"callers send {name!r}, which it does not take"
    for name in taken.keys() - sent.keys():
        return f"it needs {name!r}, which callers do not send"
    wrong = next((name for name in sent if not _takes(taken[name], sent[name])), "")
    return f"callers send {wrong!r} as {_said(sent[wrong])}, it takes {_said(taken[wrong])}" if wrong else ""


def _unmet_params(due: Signature, own: Signature) -> str:
    taken = {param.name: param for param in own.params}
    for sent in due.params:
        param = taken.get(sent.name)
        if param is None:
            return f"callers may send the param {sent.name!r}, which it does not take"
        if (param.kind, param.many) != (sent.kind, sent.many) or (sent.nullable and not param.nullable):
            return f"callers may send the param {sent}, it takes {param}"
    return ""


def _unmet_outputs(due: Signature, own: Signature) -> str:
    read, given = {f.name: f for f in due.outputs}, {f.name: f for f in own.outputs}
    for name in read.keys() - given.keys():
        return f"callers read {name!r}, which it does not give"
    if len(read) == 1 and len(given) > 1:  # replies with one output are bare values, others are objects
        return f"callers read {next(iter(read))!r} alone, it gives {', '.join(map(repr, given))}"
    wrong = next((name for name in read if not _takes(read[name], given[name])), "")
    return f"callers read {wrong!r} as {_said(read[wrong])}, it gives {_said(given[wrong])}" if wrong else ""


def _unmet_time(due: Offer, own: Offer) -> str:
    inputs = {column.name for column in due.signature.columns}
    if due.signature.kind == "tensor" or due.event_time in {"", own.event_time, *inputs}:
        return ""
    return f"callers may send {due.event_time!r} as the event time, it takes {own.event_time or 'none'}"


def _takes(taken: Column | Tensor, sent: Column | Tensor) -> bool:
    if isinstance(taken, Column) and isinstance(sent, Column):
        return taken.dtype == sent.dtype and (taken.nullable or not sent.nullable)
    if isinstance(taken, Tensor) and isinstance(sent, Tensor):
        alike = taken.dtype == sent.dtype and len(taken.shape) == len(sent.shape)
        return alike and all(own in (-1, due) for own, due in zip(taken.shape, sent.shape, strict=True))
    return False


def _said(field: Column | Tensor) -> str:
    if isinstance(field, Column):
        return f"{field.dtype} or null" if field.nullable else field.dtype
    return f"{field.dtype}{list(field.shape)}"
