"""An endpoint: which models score, how long each is waited for, and what answers when none can."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

LogMode = Literal["durable", "power-safe", "async", "off"]


@dataclass(frozen=True)
class Preference:
    """One line of a schedule: take this model's score if it is there within ``wait_s`` of the request's arrival."""

    model: str
    wait_s: float


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
        event_time: A column that callers may send beside the model's inputs; monitoring's windows use it.
        log: What a reply promises about the request log.
    """

    name: str
    schedule: tuple[Preference, ...]
    deadline_s: float
    default: Mapping[str, float] = field(default_factory=dict)
    reference: str = ""
    shadows: tuple[str, ...] = ()
    event_time: str = ""
    log: LogMode = "durable"

    @property
    def models(self) -> tuple[str, ...]:
        """Every model reference that scores, scheduled ones first, each once."""
        named = [p.model for p in self.schedule] + list(self.shadows) + ([self.reference] if self.reference else [])
        return tuple(dict.fromkeys(named))

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; times in milliseconds as ``headrace.toml`` writes them."""
        return {
            "name": self.name,
            "schedule": [{"model": p.model, "wait_ms": p.wait_s * 1000} for p in self.schedule],
            "deadline_ms": self.deadline_s * 1000,
            "default": dict(self.default),
            "reference": self.reference,
            "shadows": list(self.shadows),
            "event_time": self.event_time,
            "log": self.log,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Endpoint":
        """Back from ``to_json``; also reads a table of ``headrace.toml``."""
        return cls(
            name=data["name"],
            schedule=tuple(Preference(p["model"], p["wait_ms"] / 1000) for p in data["schedule"]),
            deadline_s=data["deadline_ms"] / 1000,
            default=dict(data.get("default", {})),
            reference=data.get("reference", ""),
            shadows=tuple(data.get("shadows", ())),
            event_time=data.get("event_time", ""),
            log=data.get("log", "durable"),
        )
