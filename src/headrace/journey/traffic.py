"""Use case: logged traffic as a dataset, so that what was asked and answered can be trained on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import numpy as np

from headrace.datasets.keep import USUAL, Terms
from headrace.datasets.put import put
from headrace.datasets.version import DatasetVersion
from headrace.errors import NotFound, UsageError
from headrace.journey.platform import Platform
from headrace.monitoring.labels import reader
from headrace.refs import checked_name
from headrace.serving.deployment import check_logged, current
from headrace.serving.log import RequestLog
from headrace.serving.moments import ago
from headrace.serving.records import GONE, Prediction

SCHEME = "request-log://"
_PARTS = ("since", "until")
_OWN = ("id", "row", "at", "event_time", "winner", "label")


@dataclass(frozen=True)
class Traffic:
    """Which requests.

    Attributes:
        endpoint: Whose log.
        since: From when; None for all that is there.
        until: To when; None for now.
    """

    endpoint: str
    since: datetime | None = None
    until: datetime | None = None


def read_traffic(source: str, now: datetime | None = None) -> Traffic:
    """What ``request-log://late?since=2h&until=2024-07-01`` means.

    Raises:
        UsageError: It is not of that form.
        NameRefused: The endpoint's name is not allowed.
    """
    parts = urlsplit(source)
    pairs = dict(parse_qsl(parts.query, keep_blank_values=True))
    strange = [key for key in pairs if key not in _PARTS]
    if strange or parts.path.strip("/") or parts.fragment:
        why = f"{strange[0]!r} is not known" if strange else "an endpoint's name is due"
        raise UsageError(f"{source!r} names no requests", why=why, fix=f"{SCHEME}late?since=2h&until=1h")
    now = now or datetime.now(UTC)
    moments = {key: ago(text, now) for key, text in pairs.items()}
    return Traffic(checked_name(parts.netloc, of="endpoint"), **moments)


def put_traffic(
    platform: Platform, traffic: Traffic, name: str, *, licence: str = "", terms: Terms = USUAL
) -> DatasetVersion:
    """Store logged requests as a version of dataset ``name``: a row for each row that was asked.

    Columns are the request's id, its row and time, the inputs by name, ``event_time`` where the endpoint has one,
    ``answered_<output>``, the ``winner``, and the ``label`` where one has come in. Callers who went are left out.
    Memory holds a page of the log.

    Args:
        platform: Where the log and the labels are.
        traffic: Which requests.
        name: The dataset.
        licence: Under which it may be used.
        terms: What it is held against.

    Raises:
        NotFound: No such endpoint, or nothing was logged in that time.
        UsageError: The endpoint takes tensors of more than one value a row, which are no columns.
        DataRefused: The rows break the dataset's contract.
    """
    if current(platform.ledger(), traffic.endpoint) is None and not _logged(platform, traffic.endpoint):
        raise NotFound(f"no endpoint named {traffic.endpoint!r}", fix="headrace serving ls")
    stores = platform.stores()
    with stores.folder("traffic-") as folder:
        path = folder / f"{traffic.endpoint}-requests.jsonl"
        if not _write(path, _rows(platform, traffic)):
            check_logged(current(platform.ledger(), traffic.endpoint))
            raise NotFound(
                f"no request of {traffic.endpoint} is logged in that time", fix=f"{SCHEME}{traffic.endpoint} takes all"
            )
        return put(stores, name, path, licence=licence, terms=terms)


def _write(path: Path, rows: Iterator[Mapping[str, Any]]) -> int:
    count, encode = 0, msgspec.json.Encoder().encode
    with path.open("wb") as file:
        for row in rows:
            file.write(encode(row) + b"\n")
            count += 1
    return count


def _rows(platform: Platform, traffic: Traffic) -> Iterator[Mapping[str, Any]]:
    stream = platform.stream()
    labels = reader(stream, traffic.endpoint)
    pages = RequestLog(stream, traffic.endpoint).between(_ms(traffic.since) or 0, _ms(traffic.until))
    for page in pages:
        for _, prediction in page:
            if prediction.winner != GONE:
                yield from _of(prediction, labels(prediction.id) if labels else {})


def _of(prediction: Prediction, labels: Mapping[int, float]) -> Iterator[Mapping[str, Any]]:
    columns = {_free(name): _cells(name, values) for name, values in prediction.columns.items()}
    answers = {f"answered_{name}": _cells(name, values) for name, values in prediction.outputs.items()}
    at = datetime.fromtimestamp(prediction.at_ms / 1000, UTC).isoformat()
    for row in range(len(next(iter(columns.values()), ()))):
        moment = {"event_time": prediction.event_time[row]} if prediction.event_time else {}
        yield {
            "id": prediction.id,
            "row": row,
            "at": at,
            **{name: cells[row] for name, cells in columns.items()},
            **moment,
            **{name: cells[row] for name, cells in answers.items()},
            "winner": prediction.winner,
            "label": labels.get(row),
        }


def _free(name: str) -> str:
    """A column that is called as one of ours is ``input_…``."""
    return f"input_{name}" if name in _OWN or name.startswith("answered_") else name


def _cells(name: str, values: Sequence[Any]) -> Sequence[Any]:
    """One value a row; a tensor's only one."""
    if values and isinstance(values[0], list):
        array = np.asarray(values)
        if array.size != len(values):
            raise UsageError(
                f"tensor {name!r} is no column", why=f"it has {array.size // len(values)} values a row",
                fix="headrace serving replay reads such a log",
            )  # fmt: skip
        return array.reshape(-1).tolist()
    return values


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)


def _logged(platform: Platform, endpoint: str) -> bool:
    return bool(RequestLog(platform.stream(), endpoint).predictions(limit=1))
