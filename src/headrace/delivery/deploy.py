"""Deployment: what is served under a name from now on, with every model reference resolved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from headrace.delivery.promotion import current_user
from headrace.errors import HeadraceError, NotFound, SignatureError, UsageError
from headrace.features.view import find as view_of
from headrace.models.registry import find
from headrace.models.version import ModelVersion
from headrace.refs import checked_name
from headrace.serving.deployment import KIND, Deployment, amend, contract
from headrace.serving.endpoint import Endpoint, check_answers, check_key
from headrace.serving.join import Join, asked, check_joins
from headrace.serving.outputs import check_default
from headrace.serving.succession import Offer, offer_of, unmet
from headrace.storage.ledger import Fact, Ledger, latest


@dataclass(frozen=True)
class Allowed:
    """What a deployment may do that is refused otherwise.

    Attributes:
        replace_signature: Take or give something else than what is deployed there now.
        end_traffic: End a canary that is under way, or a split of which it says nothing.
    """

    replace_signature: bool = False
    end_traffic: bool = False


NOTHING = Allowed()
"""Neither."""


def deploy(
    ledger: Ledger,
    endpoint: Endpoint,
    *,
    who: str = "",
    why: str = "",
    gates: Sequence[str] = (),
    allowed: Allowed = NOTHING,
) -> Deployment:
    """Record that ``endpoint`` is served from now on; gateways follow the record.

    Args:
        ledger: Where versions, aliases and deployments are.
        endpoint: Schedule, deadline, default, reference and shadows.
        who: Who deploys; by default the login name.
        why: For people.
        gates: Names of the gates that passed.
        allowed: What it may do to those who call the endpoint now.

    Returns:
        The deployment; the one that stands already when nothing about it would change.

    Raises:
        NotFound: A model reference means nothing, or a view that is joined was never materialized.
        SignatureError: The models do not take the same columns, or not what callers of the endpoint send now.
        SettingsError: The deadline or a default is no finite number, or the key of a split is a secret header.
        UsageError: The schedule is empty, names a model twice or waits beyond the deadline; an output of a table has no
            default, or a default is of no output; batches
            gather beyond the deadline; a standby is no version of the model that the schedule prefers; two shares of
            a split mean one version; a masked column is none; a join cannot be made; or it would
            end a canary or a split unasked.
    """
    checked_name(endpoint.name, of="endpoint")
    check_answers(endpoint)
    said = allowed.replace_signature

    def change(standing: Deployment | None) -> Deployment:
        if standing is not None and not allowed.end_traffic:
            _check_traffic(standing, endpoint)
        asked = replace(endpoint, join=_over_views(ledger, endpoint))
        versions = {reference: _found(ledger, asked, reference) for reference in asked.models}
        models = {reference: str(version) for reference, version in versions.items()}
        check(ledger, asked, versions, None if said else standing)
        _check_mask(asked, versions)
        _check_default(asked, versions)
        same = standing is not None and standing.endpoint == asked and standing.models == models
        if standing is not None and same and (standing.replace_signature or not said):
            return standing
        return Deployment(asked, models, who or current_user(), why, tuple(gates), said)

    made = amend(ledger, endpoint.name, change)
    assert made is not None
    return made


def check(
    ledger: Ledger, endpoint: Endpoint, versions: Mapping[str, ModelVersion], standing: Deployment | None = None
) -> None:
    """Raise unless ``endpoint`` can be served.

    Args:
        ledger: Where versions are.
        endpoint: What is to be served.
        versions: What each of its references means.
        standing: What is deployed there now and must not be broken for its callers; None where that does not matter.

    Raises:
        SignatureError: The models do not take the same columns, or not what callers of the endpoint send now.
        UsageError: See ``deploy``.
    """
    _check_schedule(endpoint)
    _check_split(endpoint, versions)
    due = contract({str(versions[reference]): versions[reference].signature for reference in endpoint.scoring})
    _check_standby(endpoint, versions)
    check_default(due, endpoint.default)
    missing = [output.name for output in due.outputs if output.name not in endpoint.default]
    # A model of tensors may have outputs that nothing can stand for: its callers are told 503 when it does not answer.
    if missing and due.kind == "table":
        other = sorted(set(endpoint.default) - {output.name for output in due.outputs})
        raise UsageError(
            f"endpoint {endpoint.name} has no default for {', '.join(missing)}",
            why="it must answer when no model can" + (f", and has {', '.join(other)}" if other else ""),
            fix=f"default={{{missing[0]!r}: 0.0}}, for example the mean of the training labels",
        )
    check_joins(endpoint.name, endpoint.join, due)
    if standing is not None:
        _check_succession(ledger, standing, Offer(asked(due, endpoint.join), endpoint.event_time))


def current(ledger: Ledger, name: str) -> tuple[Endpoint, Fact]:
    """What is served under ``name`` now, and the fact that says so.

    Raises:
        NotFound: Nothing was ever deployed there.
    """
    fact = latest(ledger, KIND, name)
    if fact is None:
        raise NotFound(f"no endpoint named {name!r}", fix="headrace serving ls; hr.deploy(...) in a pipeline makes one")
    return Deployment.from_fact(fact).endpoint, fact


def _found(ledger: Ledger, endpoint: Endpoint, reference: str) -> ModelVersion:
    """What a reference means; an error says which setting it stands in."""
    try:
        return find(ledger, reference)
    except HeadraceError as error:
        settings = {
            "schedule": [p.model for p in endpoint.schedule],
            "shadows": endpoint.shadows,
            "reference": [endpoint.reference],
            "standby": endpoint.standby,
        }
        where = next(name for name, models in settings.items() if reference in models)
        raise type(error)(
            error.what, where=f"{where} of [endpoint.{endpoint.name}]", why=error.why, fix=error.fix
        ) from None


def _over_views(ledger: Ledger, endpoint: Endpoint) -> tuple[Join, ...]:
    """Its joins, each over the newest version of its view."""
    try:
        return tuple(join.over(view_of(ledger, join.view)) for join in endpoint.join)
    except NotFound as error:
        where = f"join of [endpoint.{endpoint.name}]"
        raise NotFound(error.what, where=where, why=error.why, fix=error.fix) from None


def _check_succession(ledger: Ledger, standing: Deployment, due: Offer) -> None:
    try:
        before = offer_of(ledger, standing)
    except (HeadraceError, KeyError):  # nobody can call what cannot be served
        return
    why = unmet(before, due)
    if why:
        name = standing.endpoint.name
        raise SignatureError(
            f"endpoint {name} would break its callers",
            where=f"deployment {standing.seq}",
            why=why,
            fix=f"headrace serving deploy {name} --replace-signature, or deploy it under another name",
        )


def _check_traffic(standing: Deployment, endpoint: Endpoint) -> None:
    """What somebody began by a command is not ended by a file, or a nightly run, that knows nothing of it."""
    name, force = endpoint.name, "or say that it may (--force, force=True)"
    if standing.canary is not None:
        raise UsageError(
            f"endpoint {name} has a canary of {standing.models[standing.canary.candidate]} under way",
            where=f"deployment {standing.seq}",
            why="deploying its settings would end it",
            fix=f"headrace serving rollback {name} first, {force}",
        )
    if standing.endpoint.split and not endpoint.split:
        shares = (
            f"{standing.models[model]} {part * 100:g} %" for model, part in standing.endpoint.split.shares.items()
        )
        raise UsageError(
            f"endpoint {name} is split: {', '.join(shares)}",
            where=f"deployment {standing.seq}",
            why="its settings name no split, so deploying them would end this one",
            fix=f"headrace serving split {name} --end first, {force}",
        )


def _check_standby(endpoint: Endpoint, versions: Mapping[str, ModelVersion]) -> None:
    own = versions[endpoint.schedule[0].model].name
    for reference in endpoint.standby:
        if versions[reference].name != own:
            raise UsageError(
                f"endpoint {endpoint.name} cannot have {versions[reference]} on standby",
                why=f"callers ask for versions of {own}, which its schedule prefers",
                fix="list it under shadows, or deploy it as an endpoint of its own",
            )


def _check_schedule(endpoint: Endpoint) -> None:
    if not endpoint.schedule:
        raise UsageError(
            f"endpoint {endpoint.name} has no schedule", fix='schedule=[("late@champion", 20)] (milliseconds)'
        )
    named = [p.model for p in endpoint.schedule]
    if twice := [model for model in named if named.count(model) > 1]:
        raise UsageError(
            f"the schedule of endpoint {endpoint.name} names {twice[0]} twice",
            why="a model has one place, and one time to be waited for",
            fix="leave one of them out",
        )
    beyond = [p.model for p in endpoint.schedule if not 0 < p.wait_s <= endpoint.deadline_s]
    if beyond:
        raise UsageError(
            f"endpoint {endpoint.name} cannot wait as long for {beyond[0]} as its schedule says",
            why=f"the default answers after {endpoint.deadline_s * 1000:g} ms",
            fix="give each model more than 0 ms and at most deadline_ms",
        )
    if endpoint.batching.max_wait_s >= endpoint.deadline_s:
        raise UsageError(
            f"batches of endpoint {endpoint.name} gather for {endpoint.batching.max_wait_s * 1000:g} ms",
            why=f"the default answers after {endpoint.deadline_s * 1000:g} ms",
            fix="give max_wait_ms a fraction of deadline_ms",
        )


def _check_split(endpoint: Endpoint, versions: Mapping[str, ModelVersion]) -> None:
    check_key(endpoint.split.key)
    strange = endpoint.split.shares.keys() - {p.model for p in endpoint.schedule}
    if strange:
        raise UsageError(
            f"endpoint {endpoint.name} cannot give {min(strange)} a share of the requests",
            why="its schedule does not say how long it is waited for",
            fix=f"list it in the schedule too, last: {{ model = {min(strange)!r}, wait_ms = ... }}",
        )
    meant: dict[str, str] = {}
    for reference in endpoint.split.shares:
        other = meant.setdefault(str(versions[reference]), reference)
        if other != reference:
            raise UsageError(
                f"endpoint {endpoint.name} gives {versions[reference]} two shares",
                why=f"{other} and {reference} both mean it",
                fix=f"give {other} both together",
            )


def _check_default(endpoint: Endpoint, versions: Mapping[str, ModelVersion]) -> None:
    """A default of no output would be answered beside those that there are."""
    first = versions[endpoint.schedule[0].model]
    outputs = [output.name for output in first.signature.outputs]
    for name in endpoint.default:
        if name not in outputs:
            raise UsageError(
                f"endpoint {endpoint.name} has a default for {name!r}",
                why=f"{first} answers {', '.join(outputs)}",
                fix=f"default = {{ {outputs[0]} = {next(iter(endpoint.default.values())):g} }}",
            )


def _check_mask(endpoint: Endpoint, versions: Mapping[str, ModelVersion]) -> None:
    """A masked name that no model takes hides nothing. One with a hyphen is taken for a header."""
    known = [column.name for version in versions.values() for column in version.signature.inputs]
    if endpoint.event_time in endpoint.mask and endpoint.event_time not in known:
        raise UsageError(
            f"endpoint {endpoint.name} cannot mask {endpoint.event_time!r}",
            where="mask",
            why="it is the event time, and monitoring tells windows by it",
            fix="leave it out of mask, or set no event_time",
        )
    known += [endpoint.split.key] if endpoint.split.key else []
    known += [name for join in endpoint.join for name in join.on]
    lower = {name.lower() for name in known}
    for name in endpoint.mask:
        if name.lower() not in lower and "-" not in name:
            raise UsageError(
                f"endpoint {endpoint.name} cannot mask {name!r}",
                where="mask",
                why=f"none of its models takes a column of that name; they take {', '.join(dict.fromkeys(known))}",
                fix="name the column as the model does, or the header that is the split's key",
            )
