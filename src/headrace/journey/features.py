"""Use case: materialize a view, unless that would leave an endpoint without features that its models need."""

from headrace.errors import HeadraceError, Refused
from headrace.features.materialize import Materialization, materialize
from headrace.features.view import FeatureView
from headrace.journey.platform import Platform
from headrace.models.registry import find
from headrace.models.signature import Signature
from headrace.serving.deployment import KIND, Deployment, contract, current
from headrace.serving.join import features, fits
from headrace.storage.ledger import Ledger


def materialized(platform: Platform, asked: Materialization) -> FeatureView:
    """Write the newest features of each entity; see ``features.materialize``.

    Raises:
        Refused: A deployed endpoint joins a feature or key that this version would not have, or have as another type.
            Nothing is written.
    """
    ledger = platform.ledger()
    return materialize(platform.stores(), platform.online(), asked, allow=lambda view: _check_endpoints(ledger, view))


def _check_endpoints(ledger: Ledger, view: FeatureView) -> None:
    for name in sorted({fact.subject for fact in ledger.query(KIND)}):
        deployed = current(ledger, name)
        if deployed is None or view.name not in {join.view for join in deployed.endpoint.join}:
            continue
        try:
            due = _signature(ledger, deployed)
        except HeadraceError:  # what cannot be served needs nothing
            continue
        why = _unmet(deployed, due, view)
        if why:
            raise Refused(
                f"view {view.name} cannot be materialized so",
                where=f"endpoint {name}",
                why=why,
                fix=f"keep what it joins beside what is new, or deploy {name} without the join first",
            )


def _signature(ledger: Ledger, deployed: Deployment) -> Signature:
    versions = dict.fromkeys(deployed.models[reference] for reference in deployed.endpoint.scoring)
    return contract({version: find(ledger, version).signature for version in versions})


def _unmet(deployed: Deployment, due: Signature, view: FeatureView) -> str:
    """What the endpoint would miss; empty when nothing."""
    for join in deployed.endpoint.join:
        if join.view != view.name:
            continue
        if dict(join.keys) != dict(view.keys):
            said = [", ".join(f"{key} ({dtype})" for key, dtype in keys) for keys in (join.keys, view.keys.items())]
            return f"it joins by {said[0]}, this version has {said[1]}"
        for feature in features(join, due):
            dtype = view.columns.get(feature.name, "")
            if not fits(dtype, feature.input):
                said_of = f"{feature.name!r} as {dtype}" if dtype else f"no {feature.name!r}"
                return f"it joins {feature.name!r} as {feature.input.dtype}, this version has {said_of}"
    return ""
