"""What a check found: counts, never samples."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from headrace.errors import DataRefused

Level = Literal["dirt", "anomaly", "broken"]


@dataclass(frozen=True)
class Finding:
    """One thing about the data that is not plain.

    Attributes:
        level: ``dirt``: known and recorded, the contract allows it. ``anomaly``: unlike what was seen before.
            ``broken``: against the contract; the data is refused.
        rule: ``missing``, ``extra``, ``dtype``, ``nulls``, ``nan``, ``range``, ``categories``, ``duplicates``,
            ``unmatched`` or ``unchecked``.
        column: The column, or several joined by commas.
        count: Rows concerned; 0 where the whole column is.
        share: Of all rows.
        message: In words.
    """

    level: Level
    rule: str
    column: str
    count: int
    share: float
    message: str


@dataclass(frozen=True)
class Report:
    """All findings about one table.

    Attributes:
        dataset: Name of the dataset.
        rows: Number of rows checked.
        findings: The gravest first.
        version: Its number; 0 before it has one.
    """

    dataset: str
    rows: int
    findings: tuple[Finding, ...]
    version: int = 0

    @property
    def ok(self) -> bool:
        """Whether the contract holds."""
        return not self.of("broken")

    def of(self, level: Level) -> list[Finding]:
        """Findings of one level."""
        return [f for f in self.findings if f.level == level]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        findings = [asdict(f) for f in self.findings]
        return {
            "dataset": self.dataset,
            "version": self.version,
            "rows": self.rows,
            "ok": self.ok,
            "findings": findings,
        }

    def enforce(self) -> None:
        """Raise ``DataRefused`` unless the contract holds."""
        if broken := self.of("broken"):
            raise DataRefused(
                f"{self.dataset} breaks its contract in {len(broken)} {'place' if len(broken) == 1 else 'places'}",
                where=", ".join(dict.fromkeys(f.column for f in broken)),
                why="; ".join(f.message for f in broken[:5]),
                fix=f"mend the data, change [contract.{self.dataset}] in headrace.toml, "
                "or, where its columns changed on purpose, headrace data put --new-contract",
            )
