"""The other signatures of an endpoint's models: a decoder and queues for each, made when it is first asked for."""

from collections.abc import Sequence
from dataclasses import dataclass

from headrace.errors import UnknownSignature
from headrace.models.runtime import Loaded, Several
from headrace.models.signature import Signature
from headrace.serving.arms import split_up
from headrace.serving.deployment import contract
from headrace.serving.outputs import Shapes
from headrace.serving.rendezvous import Live
from headrace.serving.request import projection
from headrace.serving.scorer import Ready
from headrace.serving.tensors import decoder_of


@dataclass(frozen=True)
class SignedModel:
    """A model by another of its signatures; see ``scorer.Ready``.

    Attributes:
        model: It.
        signature: What it takes and gives here.
        loaded: What scores by this signature.
    """

    model: Ready
    signature: Signature
    loaded: Loaded
    fast: bool = False

    @property
    def name(self) -> str:
        """Of the model version."""
        return self.model.name

    @property
    def isolated(self) -> bool:
        """As the model."""
        return self.model.isolated

    @property
    def pid(self) -> int | None:
        """As the model."""
        return self.model.pid

    @property
    def size_bytes(self) -> int:
        """Nothing besides the model's."""
        return 0

    @property
    def shapes(self) -> Shapes:
        """None: a signature of tensors says it."""
        return {}

    @property
    def trouble(self) -> str:
        """As the model."""
        return self.model.trouble

    def still_fast(self) -> bool:
        """False: no row of this signature is recorded to measure with."""
        return False


def signed(live: Live, name: str) -> Live:
    """What scores by the signature of that name; ``live`` itself for its own.

    The models that have it score; the one that the schedule prefers must. No default stands in for its outputs. Where
    columns are masked all that it takes is: an example may hold any column.

    Args:
        live: What serves an endpoint, or one version of it.
        name: Of the signature; empty for the one that is served unasked.

    Raises:
        UnknownSignature: The model has no such signature.
        SignatureError: The endpoint's models differ in it.
    """
    if live.signature.named(name) is live.signature:
        return live
    if name not in live.named:
        if all(name != signature.name for signature in signatures(live)[1:]):
            raise UnknownSignature(f'Serving signature key "{name[:100]}" not found.')
        live.named[name] = _made(live, name)
    return live.named[name]


def signatures(live: Live) -> Sequence[Signature]:
    """All by which callers may ask, that of callers who name none first."""
    preferred = live.scorers[live.schedule[0][0]].model
    others = preferred.signature.others if isinstance(preferred.loaded, Several) else ()
    return (live.decoder.signature, *others)


def _made(live: Live, name: str) -> Live:
    models = {slot: found for slot, scorer in enumerate(live.scorers) if (found := by_signature(scorer.model, name))}
    due = contract({model.name: model.signature for model in models.values()})
    first = next(iter(models.values())).name
    slots = {old: new for new, old in enumerate(models)}
    made = live.varied(
        signature=due,
        decoder=decoder_of(due),
        scorers=[
            live.scorers[slot].beside(model, projection(due, model.signature), first) for slot, model in models.items()
        ],
        schedule=[(slots[slot], wait_s) for slot, wait_s in live.schedule if slot in slots],
        default={},
        mask=live.mask and live.mask.over([tensor.name for tensor in due.tensors]),
    )
    if live.arms and len(models) == len(live.scorers):
        split_up(made)
    return made


def by_signature(model: Ready, name: str) -> SignedModel | None:
    """A model by another of its signatures; None when it has none of that name."""
    found = next((other for other in model.signature.others if other.name == name), None)
    if found is None or not isinstance(model.loaded, Several):
        return None
    return SignedModel(model, found, model.loaded.signed(name))
