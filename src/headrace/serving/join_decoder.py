"""The decoder of an endpoint that joins features: what callers send is read, the rest put in once it is known."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import ClassVar

from headrace.errors import SignatureError, Unavailable
from headrace.features.online import Cells, Found, Key
from headrace.features.view import FeatureView
from headrace.models.params import NO_PARAMS, Params
from headrace.models.runtime import Batch
from headrace.models.signature import Signature
from headrace.serving.join import Join, asked, features, fits
from headrace.serving.request import Input, Joined, Matrices, Row, TableDecoder

_FLOATS = frozenset({"float32", "float64"})


@dataclass(frozen=True, slots=True)
class AskedInput:
    """What a caller sent, before features are joined; ``cells`` are what the log keeps if they never are.

    Attributes:
        sent: Cells by row, in ``JoinDecoder.sent`` order.
        cells: The same in ``JoinDecoder.names`` order, with null where a feature belongs.
        count: Number of rows.
    """

    sent: Sequence[Row]
    cells: Sequence[Row]
    count: int
    joined: ClassVar[tuple[Joined, ...]] = ()
    params: ClassVar[Params] = NO_PARAMS

    @property
    def batch(self) -> Batch:
        """Nothing: no model can score it."""
        return {}


class JoinDecoder(TableDecoder):
    """Reads what callers send, and makes whole rows of it and of features.

    Args:
        signature: What the models take.
        joins: Those that add something to it, over the versions of their views that the endpoint was deployed with.
        event_time: A further column that callers may send; empty for none.
        narrow: Whether all models compute with float32.

    Attributes:
        views: Names of the views that are read, one for each join.
    """

    def __init__(
        self, signature: Signature, joins: Sequence[Join], event_time: str = "", *, narrow: bool = False
    ) -> None:
        super().__init__(asked(signature, joins), event_time)
        self._whole = Matrices(signature, narrow=narrow)
        inputs = tuple(column.name for column in self._whole.fields)
        # What is only joined by comes after what models take, and the event time last.
        self.names = (*inputs, *(name for name in self.sent if name not in inputs))
        parts = [_Part(join, signature, self.sent) for join in joins]
        self._parts = parts
        self.views = tuple(part.view for part in parts)
        order = [*self.sent, *(name for part in parts for name in part.names)]
        self._arrange = itemgetter(*(order.index(name) for name in self.names))
        self._nothing = (None,) * (len(order) - len(self.sent))

    def keys(self, given: AskedInput) -> Sequence[Sequence[Key]]:
        """For each of ``views`` the entity of every row."""
        return [[part.key(row) for row in given.sent] for part in self._parts]

    def joined(self, given: AskedInput, found: Sequence[Found]) -> "JoinedInput":
        """Whole rows.

        Args:
            given: What a caller sent.
            found: For each of ``views`` the features of the entity of every row.

        Raises:
            SignatureError: A row's entity is not there, or lacks a feature that may not be null.
            Unavailable: A view has other columns by now than the models need.
        """
        rows: list[Row] = list(given.sent)
        for part, one in zip(self._parts, found, strict=True):
            rows = [row + part.cells(one, row, number) for number, row in enumerate(rows)]
        arrange = self._arrange
        whole = [arrange(row) for row in rows]
        came = tuple(
            Joined(part.view, one.view.version, part.names) for part, one in zip(self._parts, found, strict=True)
        )
        return JoinedInput(whole, self._whole.of(whole, len(self.names)), len(whole), came)

    def unknown(self, name: str) -> SignatureError:
        """Also that a column is sent which is joined here."""
        for part in self._parts:
            if name in part.names:
                return SignatureError(
                    f"column {name!r} is joined here",
                    why=f"it comes from view {part.view!r}, and callers do not send it",
                    fix=f"leave it out, and send {', '.join(self.sent)}",
                )
        return super().unknown(name)

    def fault(self, error: Exception) -> SignatureError:
        """The same of what a parser met."""
        said = re.search("unknown field `(.*?)`", str(error))
        return (
            self.unknown(said[1])
            if said and any(said[1] in part.names for part in self._parts)
            else super().fault(error)
        )

    def _input(self, rows: list[Row]) -> Input:
        self._check(rows)
        arrange, nothing = self._arrange, self._nothing
        return AskedInput(rows, [arrange(row + nothing) for row in rows], len(rows))


@dataclass(frozen=True, slots=True)
class JoinedInput:
    """A request's rows with their features; see ``request.TableInput``.

    Attributes:
        cells: By row in ``JoinDecoder.names`` order.
        batch: As ``models.runtime.Batch`` says.
        count: Number of rows.
        joined: Where features came from.
    """

    cells: Sequence[Row]
    batch: Batch
    count: int
    joined: tuple[Joined, ...]
    params: ClassVar[Params] = NO_PARAMS


class _Part:
    """One join, compiled."""

    def __init__(self, join: Join, signature: Signature, sent: Sequence[str]) -> None:
        self.view = join.view
        self._features = features(join, signature)
        self.names = tuple(feature.input.name for feature in self._features)
        self._on = [(name, sent.index(name)) for name in join.on]
        self._keys = dict(join.keys)
        self._blank: Cells | None = (
            (None,) * len(self.names) if all(feature.input.nullable for feature in self._features) else None
        )
        self._strict = [at for at, feature in enumerate(self._features) if not feature.input.nullable]
        self._picked: tuple[str, Callable[[Cells], Cells]] = ("", tuple)

    def key(self, row: Row) -> Key:
        return tuple([row[at] for _, at in self._on])

    def cells(self, found: Found, row: Row, number: int) -> Cells:
        """A row's features, in the order of ``names``."""
        view, cells = found.view, found.rows[number]
        if cells is None:
            if self._blank is None:
                raise self._missing(row, number, "has no such entity")
            return self._blank
        if self._picked[0] != view.version:
            self._picked = view.version, self._pick(view)
        picked = self._picked[1](cells)
        for at in self._strict:
            if picked[at] is None:
                raise self._missing(row, number, f"has no {self._features[at].name!r} of it")
        return picked

    def _pick(self, view: FeatureView) -> Callable[[Cells], Cells]:
        """What takes the features that the models need of an entity's, and makes them what callers would send."""
        order = list(view.columns)
        if dict(view.keys) != self._keys:
            raise Unavailable(f"view {view} has other keys than the endpoint was deployed with", fix=_REDEPLOY)
        for feature in self._features:
            if feature.name not in order or not fits(view.columns[feature.name], feature.input):
                raise Unavailable(f"view {view} has no {feature.name!r} that the models take", fix=_REDEPLOY)
        wanted = [order.index(feature.name) for feature in self._features]
        floats = [feature.input.dtype in _FLOATS for feature in self._features]
        plan = list(zip(wanted, floats, strict=True))
        return lambda cells: tuple(
            [float(cells[at]) if whole and cells[at] is not None else cells[at] for at, whole in plan]
        )

    def _missing(self, row: Row, number: int, why: str) -> SignatureError:
        entity = ", ".join(f"{name} {row[at]!r}" for name, at in self._on)
        return SignatureError(
            f"there are no features for {entity}",
            where=f"row {number}",
            why=f"view {self.view!r} {why}, and the model takes no null for it",
            fix=f"send another, or materialize view {self.view} from data that has it",
        )


_REDEPLOY = "headrace features materialize it as before, or deploy the endpoint again"
