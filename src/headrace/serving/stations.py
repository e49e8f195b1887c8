"""The stations of a worker process, kept at what the ledger says of an endpoint, and announced to its front doors."""

import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

from headrace.errors import HeadraceError, NotFound, Unavailable
from headrace.models.registry import find
from headrace.models.signature import Signature
from headrace.serving.aspired import Failures
from headrace.serving.deployment import Deployment, current
from headrace.serving.exchange import Exchange, Present, pack
from headrace.serving.lane import Terms
from headrace.serving.report import in_words, report
from headrace.serving.request import Projection, projection
from headrace.serving.station import Station
from headrace.serving.versions import Model
from headrace.storage.ledger import Ledger

EVERY_S = 0.2
_ANNOUNCE_S = 1.0
_LINGER_S = 30.0
_STOP_S = 2.0


@dataclass
class _Kept:
    """A model version of this process.

    Attributes:
        model: It, loaded; None while it is being loaded.
        station: What scores with it.
        named_at: When a deployment last named it.
        why: Why it does not score.
    """

    named_at: float
    model: Model | None = None
    station: Station | None = None
    why: str = "it is being loaded"

    @property
    def trouble(self) -> str:
        """Why it does not score now; empty when it does."""
        return self.station.trouble if self.station else self.why


class Stations:
    """Loads what the newest deployment names, or those of them that were chosen, and has each score.

    A version that is named no more goes on for a while, as front doors take up a deployment one after the other.

    Args:
        endpoint: The endpoint.
        ledger: Where deployments and versions are.
        load: Loads and proves a model version.
        exchange: Carries questions and answers.
        only: Model versions or models (``late@3``, ``late``) to score with; empty for all.
        worker: What this process calls itself.

    Attributes:
        worker: The same.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        ledger: Ledger,
        load: Callable[[str], Model],
        exchange: Exchange,
        worker: str,
        only: Sequence[str] = (),
    ) -> None:
        self._endpoint, self._only, self.worker = endpoint, frozenset(only), worker
        self._ledger, self._load_model, self._exchange = ledger, load, exchange
        self._kept: dict[str, _Kept] = {}
        self._failures = Failures()
        self._announced_at, self._announced = 0.0, {"": ""}
        self._said = self._unheard = ""
        self._signatures: dict[str, Signature] = {}
        self._lock = threading.Lock()
        self._ended = False

    @property
    def versions(self) -> Mapping[str, str]:
        """Model version to why it does not score now; empty when it does."""
        return {name: kept.trouble for name, kept in list(self._kept.items())}

    def run(self, stop: threading.Event) -> None:
        """Score until ``stop`` is set; then finish what was taken, and unload."""
        # A ledger that hangs must not make front doors take a worker that scores for silent.
        following = threading.Thread(target=self._follow, args=(stop,), name="ledger", daemon=True)
        following.start()
        while not stop.wait(EVERY_S):
            self.announce()
        self.announce(leaving=True)
        following.join(_STOP_S)
        with self._lock:  # a ledger that answers after that, or a model that is loaded then, finds that it is over
            self._ended = True
        stations = [kept.station for kept in self._kept.values() if kept.station]
        for station in stations:
            station.stop()
        for station in stations:
            station.join()
        for kept in self._kept.values():
            if kept.model is not None:
                kept.model.loaded.close()

    def _follow(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                self.look()
                if self._said:
                    report(f"{self._endpoint}: deployments are followed again")
                self._said = ""
            except Exception as error:  # noqa: BLE001 - whatever a ledger meets, what scores goes on
                if in_words(error) != self._said:
                    self._said = in_words(error)
                    report(f"{self._endpoint}: deployments are not followed: {self._said}")
            stop.wait(EVERY_S)

    def look(self) -> None:
        """Bring about what the ledger says now."""
        deployment, now = current(self._ledger, self._endpoint), time.monotonic()
        if self._ended:
            return
        for version in self._wanted(deployment) if deployment else ():
            kept = self._kept.get(version)
            if kept is not None:
                kept.named_at = now
            if deployment and (kept is None or (kept.model is None and version in self._failures.due())):
                self._kept[version] = _Kept(now)
                threading.Thread(target=self._load, args=(version, deployment), name=f"load {version}").start()
        for version in [v for v, kept in self._kept.items() if now - kept.named_at > _LINGER_S and kept.model]:
            self._unload(self._kept.pop(version))
        for version in deployment.models.values() if deployment else ():
            if version not in self._signatures:
                with suppress(NotFound):  # whoever is asked by it says so
                    self._signatures[version] = find(self._ledger, version).signature

    def _wanted(self, deployment: Deployment) -> list[str]:
        versions = dict.fromkeys(deployment.models[reference] for reference in deployment.endpoint.models)
        return [v for v in versions if not self._only or {v, v.partition("@")[0]} & self._only]

    def _load(self, version: str, deployment: Deployment) -> None:
        kept = self._kept[version]
        try:
            model = self._load_model(version)
        except Exception as error:  # noqa: BLE001 - whatever a model does, the others score
            kept.why = self._failures.add(version, error)
            report(f"{version} is refused: {in_words(error)}")
            return
        with self._lock:
            if self._ended:
                model.loaded.close()
                return
            kept.model, terms = model, Terms(deployment.endpoint.batching)
            about = (self._endpoint, model, self._exchange, self.worker)
            kept.station = Station(*about, projections=self._projections(model), terms=terms)
        report(f"{version} is loaded")

    def _projections(self, model: Model) -> Callable[[str, str], Projection | None]:
        @cache
        def found(contract: str, signature: str) -> Projection | None:
            whole = model.signature if contract == model.name else self._signature(contract)
            held, taken = whole.named(signature), model.signature.named(signature)
            return projection(held, taken) if held and taken else None

        return found

    def _signature(self, contract: str) -> Signature:
        """What a batch holds; of versions that are deployed it is known while the ledger is away."""
        known = self._signatures.get(contract)
        if known is None and self._said:  # requests behind this one would wait for the ledger too
            raise Unavailable(f"what {contract} takes is not known", why=self._said)
        return known or find(self._ledger, contract).signature

    def _unload(self, kept: _Kept) -> None:
        if kept.station is not None:
            kept.station.stop()
            kept.station.join()
        if kept.model is not None:
            kept.model.loaded.close()

    def announce(self, *, leaving: bool = False) -> None:
        """Say what there is, every second and when it changes."""
        versions, now = dict(self.versions), time.monotonic()
        if not leaving and versions == self._announced and now - self._announced_at < _ANNOUNCE_S:
            return
        self._announced, self._announced_at = versions, now
        try:
            self._exchange.tell(self._endpoint, pack(Present(self.worker, versions, leaving)))
        except HeadraceError as error:  # front doors see its silence
            if not self._unheard:
                report(f"{self._endpoint}: front doors do not hear that it is there: {in_words(error)}")
            self._unheard = in_words(error)
        else:
            if self._unheard:
                report(f"{self._endpoint}: front doors hear it again")
            self._unheard = ""


def worker_name(pid: int) -> str:
    """What a worker process calls itself: host and process."""
    return f"{socket.gethostname()}/{pid}"
