"""An endpoint: which models score, how long each is waited for, and what answers when none can."""

import difflib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

from headrace.errors import SettingsError
from headrace.serving.join import Join, read_joins
from headrace.serving.retention import FOR_EVER, Keep
from headrace.serving.split import WHOLE, Split
from headrace.settings import is_number

LogMode = Literal["durable", "power-safe", "async", "off"]
Policy = Literal["availability-preserving", "resource-preserving"]
_SECRET = frozenset({"authorization", "proxy-authorization", "cookie"})


@dataclass(frozen=True)
class Preference:
    """One line of a schedule: ask nobody further down until ``wait_s`` after the request's arrival.

    A score that comes later is still taken if nobody has answered by then.
    """

    model: str
    wait_s: float


@dataclass(frozen=True)
class Batching:
    """How requests wait for a model, and how many rows it scores in one call.

    Attributes:
        max_batch_rows: Requests that wait are scored together up to so many rows; a larger one is scored alone.
        max_wait_s: How long a batch gathers after its first request arrived; 0 takes what waits. It never gathers so
            long that the first request would miss its time.
        max_queue_rows: Rows that may wait for each model; when they do for every scheduled one, requests are refused.

    Raises:
        SettingsError: A value is of the wrong type or out of range.
    """

    max_batch_rows: int = 256
    max_wait_s: float = 0.0
    max_queue_rows: int = 1024

    def __post_init__(self) -> None:
        for name in ("max_batch_rows", "max_queue_rows"):
            value: Any = getattr(self, name)
            if type(value) is not int or value < 1:
                raise SettingsError(f"{name} is {value!r}", why="a whole number from 1 is due", fix=f"{name} = 256")
        if self.max_queue_rows < self.max_batch_rows:
            raise SettingsError(
                f"max_queue_rows is {self.max_queue_rows}",
                why=f"a batch of max_batch_rows = {self.max_batch_rows} could never wait there",
                fix=f"max_queue_rows = {4 * self.max_batch_rows}",
            )
        if not 0 <= self.max_wait_s < math.inf:
            raise SettingsError(f"max_wait_ms is {self.max_wait_s * 1000:g}", why="0 or more is due")

    def to_json(self) -> dict[str, Any]:
        """As the endpoint's settings name them."""
        return {
            "max_batch_rows": self.max_batch_rows,
            "max_wait_ms": self.max_wait_s * 1000,
            "max_queue_rows": self.max_queue_rows,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Batching":
        """Back from ``to_json``; what is absent keeps its default."""
        given = {key: data[key] for key in ("max_batch_rows", "max_queue_rows") if key in data}
        return cls(max_wait_s=data.get("max_wait_ms", 0) / 1000, **given)


@dataclass(frozen=True)
class Endpoint:
    """What is served under one name.

    Attributes:
        name: As in ``/v1/models/<name>``.
        schedule: Preferences in order; the first whose score is in by its time answers.
        deadline_s: When the default answers at the latest, from arrival.
        default: Output name to value.
        reference: An old stable model whose score distribution reveals input shift; scores all, answers nothing.
        shadows: Models that score all and answer nothing.
        standby: Versions that are loaded and proven, and score only requests that ask for them by version or label.
        event_time: A column that callers may send beside the model's inputs; monitoring's windows use it.
        log: What a reply promises about the request log.
        batching: How requests wait for its models.
        policy: Whether newer versions are loaded beside those that serve, or in their place.
        keep: How long, and how much, its log is kept.
        mask: Columns whose cells are kept in the log as hashes only.
        split: For which share of the requests another model of the schedule is preferred.
        join: Features that are added to each row before any model sees it.
    """

    name: str
    schedule: tuple[Preference, ...]
    deadline_s: float
    default: Mapping[str, float] = field(default_factory=dict)
    reference: str = ""
    shadows: tuple[str, ...] = ()
    standby: tuple[str, ...] = ()
    event_time: str = ""
    log: LogMode = "durable"
    batching: Batching = Batching()
    policy: Policy = "availability-preserving"
    keep: Keep = FOR_EVER
    mask: tuple[str, ...] = ()
    split: Split = WHOLE
    join: tuple[Join, ...] = ()

    @cached_property
    def shares(self) -> Mapping[str, float]:
        """The share of each scheduled model, in the order in which requests are drawn; 0 where a split names it not.

        The order is that of the schedule, and not that in which shares are written: a model that was tried first stays
        at its place when others come and go. The model that the schedule prefers comes last, as it seldom has a share.
        """
        first, *others = dict.fromkeys(p.model for p in self.schedule)
        return {model: self.split.shares.get(model, 0.0) for model in (*others, first)}

    @property
    def scoring(self) -> tuple[str, ...]:
        """Every model reference that scores each request, scheduled ones first, each once."""
        named = [p.model for p in self.schedule] + list(self.shadows) + ([self.reference] if self.reference else [])
        return tuple(dict.fromkeys(named))

    @property
    def models(self) -> tuple[str, ...]:
        """Every model reference that is loaded, those that score first, each once."""
        return tuple(dict.fromkeys((*self.scoring, *self.standby)))

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; times in milliseconds as ``headrace.toml`` writes them."""
        return {
            "name": self.name,
            "schedule": [{"model": p.model, "wait_ms": p.wait_s * 1000} for p in self.schedule],
            "deadline_ms": self.deadline_s * 1000,
            "default": dict(self.default),
            "reference": self.reference,
            "shadows": list(self.shadows),
            "standby": list(self.standby),
            "event_time": self.event_time,
            "log": self.log,
            **self.batching.to_json(),
            "policy": self.policy,
            **self.keep.to_json(),
            "mask": list(self.mask),
            **self.split.to_json(),
            "join": [join.to_json() for join in self.join],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Endpoint":
        """Back from ``to_json``."""
        return cls(
            name=data["name"],
            schedule=tuple(Preference(p["model"], p["wait_ms"] / 1000) for p in data["schedule"]),
            deadline_s=data["deadline_ms"] / 1000,
            default=dict(data.get("default", {})),
            reference=data.get("reference", ""),
            shadows=tuple(data.get("shadows", ())),
            standby=tuple(data.get("standby", ())),
            event_time=data.get("event_time", ""),
            log=data.get("log", "durable"),
            batching=Batching.from_json(data),
            policy=data.get("policy", "availability-preserving"),
            keep=Keep.from_json(data),
            mask=tuple(data.get("mask", ())),
            split=Split.from_json(data),
            join=tuple(map(Join.from_json, data.get("join", ()))),
        )


_KEYS = (
    *("schedule", "deadline_ms", "default", "reference", "shadows", "standby", "event_time", "log"),
    *(
        "max_batch_rows",
        "max_wait_ms",
        "max_queue_rows",
        "policy",
        "split",
        "split_key",
        "mask",
        "keep_days",
        "keep_mb",
        "join",
    ),
)
_CHOICES: Mapping[str, tuple[str, ...]] = {"log": get_args(LogMode), "policy": get_args(Policy)}


def example(name: str) -> str:
    """The keys of an endpoint that asks the champion of the model of its own name, for people to begin with."""
    return f'[endpoint.{name}] with deadline_ms = 50 and schedule = [{{ model = "{name}@champion", wait_ms = 40 }}]'


def read_endpoint(name: str, table: Mapping[str, Any]) -> Endpoint:
    """The endpoint that ``[endpoint.<name>]`` of ``headrace.toml`` describes.

    Raises:
        SettingsError: A key is unknown or missing, or a value has the wrong type.
    """
    where = f"[endpoint.{name}]"
    check_keys(table, _KEYS, where)
    _check_kinds(table, where)
    try:
        endpoint = Endpoint.from_json({**table, "name": name})
        check_answers(endpoint)
    except SettingsError as error:
        raise SettingsError(error.what, where=where, why=error.why, fix=error.fix) from None
    except (KeyError, TypeError, ValueError) as error:
        why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        fix = 'deadline_ms = 50, schedule = [{ model = "name@champion", wait_ms = 20 }]'
        raise SettingsError("the endpoint cannot be read", where=where, why=why, fix=fix) from error
    for key, allowed in _CHOICES.items():
        given = getattr(endpoint, key)
        if given not in allowed:
            raise SettingsError(f"{key} is {given!r}", where=where, fix=f"one of {', '.join(allowed)}")
    return endpoint


def _check_kinds(table: Mapping[str, Any], where: str) -> None:
    """A text is a sequence of letters too: each would be masked, and no column."""
    shares, key = table.get("split", {}), table.get("split_key", "")
    for name in ("mask", "shadows", "standby"):
        named = table.get(name, [])
        if not isinstance(named, list | tuple) or not all(isinstance(one, str) for one in named):
            fix = f'{name} = ["name"]'
            raise SettingsError(f"{name} is {named!r}", where=where, why="a list of names is due", fix=fix)
    for line in table.get("schedule", []):
        _check_line(line, where)
    if not isinstance(shares, Mapping):
        fix = 'split = { "name@challenger" = "5%" }'
        raise SettingsError(f"split is {shares!r}", where=where, why="a share for each model is due", fix=fix)
    read_joins(table.get("join", []), where)
    if not isinstance(key, str):
        fix = 'split_key = "x-customer"'
        raise SettingsError(f"split_key is {key!r}", where=where, why="a column or a header is due", fix=fix)
    try:
        check_key(key)
    except SettingsError as error:
        raise SettingsError(error.what, where=where, why=error.why, fix=error.fix) from None


def _check_line(line: Any, where: str) -> None:
    if not isinstance(line, Mapping):
        return  # whoever reads it will say
    if "weight" in line:
        why, fix = "shares are drawn by a split", 'split = { "name@challenger" = "5%" }'
        raise SettingsError("a line of the schedule has no weight", where=where, why=why, fix=fix)
    check_keys(line, ("model", "wait_ms"), f"schedule of {where}")


def check_key(key: str) -> None:
    """Raise ``SettingsError`` for the key of a split that no log may hold."""
    if key.lower() in _SECRET:
        why = "the log keeps the key of each request, and this header is a secret"
        raise SettingsError(f"split_key is {key!r}", why=why, fix='split_key = "x-customer"')


def check_answers(endpoint: Endpoint) -> None:
    """Raise ``SettingsError`` where an endpoint could not answer: by its deadline, or with its default."""
    if not 0 < endpoint.deadline_s < math.inf:
        said = f"deadline_ms is {endpoint.deadline_s * 1000:g}"
        raise SettingsError(
            said, why="a request is answered by then, some time after it arrived", fix="deadline_ms = 50"
        )
    for name, value in endpoint.default.items():
        if not is_number(value) or not math.isfinite(value):
            why, fix = "it stands for a score, so a finite number is due", f"default = {{ {name} = 0.0 }}"
            raise SettingsError(f"the default of {name} is {value!r}", why=why, fix=fix)


def check_keys(table: Mapping[str, Any], known: Collection[str], where: str) -> None:
    """Raise ``SettingsError`` for a key that is not one of ``known``, with the nearest that is."""
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            fix = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(known)}"
            raise SettingsError(f"unknown setting {key!r}", where=where, fix=fix)
