"""What the ledger says is to be served: of each endpoint, the newest deployment that works."""

import threading
import time
from collections.abc import Callable, Collection, Hashable, Sequence

from headrace.models.aliases import KIND as MOVED
from headrace.models.registry import find
from headrace.models.runtime import Runtime
from headrace.serving.aspired import Aspired, Failures, Moved, Refusals, Wanted
from headrace.serving.deployment import KIND, Deployment
from headrace.serving.remote import elsewhere
from headrace.serving.report import in_words, report
from headrace.serving.succession import Heir, Offer, breaks, offer_of
from headrace.serving.versions import Model, load_model
from headrace.storage.files import Files
from headrace.storage.ledger import Fact, Ledger

_KEPT = 20
"""Deployments of an endpoint to fall back on that are at hand; older ones are read once the oldest of these failed."""
_PATIENCE_S = 2.0


class LedgerSource:
    """Deployments of the ledger; a ``Source``.

    Args:
        ledger: Where deployments, versions and aliases are recorded.
        files: Where models are.
        runtime: The runtime for a model format.
        moved: Told of every move of an alias, oldest first.
        names: Only these endpoints; empty for all.
        workers: Where models are scored by workers: raises unless an endpoint has one for a version. Only the version
            that is preferred is then loaded here.
    """

    every_s = 0.1
    settled = True

    def __init__(
        self,
        *,
        ledger: Ledger,
        files: Files,
        runtime: Callable[[str], Runtime],
        moved: Moved,
        names: Sequence[str] = (),
        workers: Callable[[str, str], None] | None = None,
    ) -> None:
        self._ledger, self._files, self._runtime, self._moved = ledger, files, runtime, moved
        self._names, self._workers = frozenset(names), workers
        self._lock = threading.Lock()
        self._facts: dict[str, list[Fact]] = {}
        self._failures = Failures()
        self._culprits: dict[int, str] = {}
        self._cut: set[str] = set()
        self._offers: dict[Hashable, Offer] = {}
        self._seen = self._seen_moves = 0
        self._changed: dict[str, None] = {}
        self._first: int | None = None
        self._why, self._asked_at = "", 0.0

    @property
    def trouble(self) -> str:
        """Why what is deployed is not followed now: the ledger is away, or hangs; empty when it is followed."""
        asked_at = self._asked_at
        if not self._why and asked_at and time.monotonic() - asked_at > _PATIENCE_S:
            return "the ledger does not answer"
        return self._why

    def poll(self, again: str = "") -> Collection[str]:
        """Endpoints with a new deployment, or with one to be tried again."""
        self._asked_at = time.monotonic()
        try:
            found = self._polled(again)
        except Exception as error:
            self._why = in_words(error)
            raise
        finally:
            self._asked_at = 0.0
        if self._why:
            self._why = ""
            report("deployments are followed again")
        return found

    def _polled(self, again: str) -> Collection[str]:
        seqs = {fact.seq for fact in self._of(again)}
        self._failures.forget(lambda key: key in seqs)
        changed = self._changed  # what was found before a later question failed is still to be followed
        for fact in self._ledger.query(KIND, after=self._seen):
            self._seen = fact.seq
            if not self._names or fact.subject in self._names:
                with self._lock:
                    self._facts[fact.subject] = [*self._facts.get(fact.subject, []), fact]
                changed[fact.subject] = None
        for name in changed:
            self._cut_short(name)
        for move in self._ledger.query(MOVED, after=self._seen_moves):
            self._seen_moves = move.seq
            self._moved(move.subject, move.body["alias"], move.body["version"])
        self._first = self._seen if self._first is None else self._first
        due = set(self._failures.due())
        retried = [name for name in self._facts if any(fact.seq in due for fact in self._of(name))]
        self._changed = {}
        return tuple(changed | dict.fromkeys(retried))

    def aspired(self, name: str) -> Aspired | None:
        """The newest deployment that was not refused."""
        while True:
            self._reach_back(name)
            facts, broken = self._candidates(name)
            newest = next((fact for fact in reversed(facts) if fact.seq not in broken), None)
            if newest is None:
                return None
            try:
                return self._read(newest)
            except Exception as error:  # noqa: BLE001 - whatever the ledger holds, what serves goes on
                self._failures.add(newest.seq, error)

    def failed(self, aspired: Aspired, version: str, error: Exception) -> None:
        """Refuse the deployment, as a whole."""
        seq = aspired.deployment.seq
        self._failures.add(seq, error)
        self._culprits[seq] = version

    def refusals(self, name: str) -> Refusals:
        """Why the newest deployment is not served."""
        newest = next(reversed(self._of(name)), None)
        if newest is None:
            return Refusals(known=False)
        why, culprit = self._failures.why(newest.seq), self._culprits.get(newest.seq, "")
        if not why:
            why = self._candidates(name)[1].get(newest.seq, "")
            culprit = newest.body["models"][newest.body["schedule"][0]["model"]] if why else ""
        return Refusals(f"deployment {newest.seq}: {why}" if why else "", {culprit: why} if culprit else {})

    def refused_change(self, name: str) -> tuple[Deployment, str] | None:
        """The newest deployment, if it was refused for good and ought to be taken back; and why it was.

        That is a step of a canary, and a version that took over while this source was watched: one that cannot be
        loaded when a server starts, weeks later, is that server's trouble alone.
        """
        newest = next(reversed(self._of(name)), None)
        if newest is None or not self._failures.final(newest.seq):
            return None
        took_over = "instead" in newest.body and self._first is not None and newest.seq > self._first
        if not took_over and "canary" not in newest.body:
            return None
        try:
            return Deployment.from_fact(newest), self._failures.why(newest.seq)
        except Exception:  # noqa: BLE001 - whatever the ledger holds, what serves goes on
            return None

    def _of(self, name: str) -> list[Fact]:
        with self._lock:
            return self._facts.get(name, [])

    def _cut_short(self, name: str) -> None:
        """Drop what is older than the last few that could serve; those refused since then push none of them out."""
        facts, broken = self._candidates(name)
        good = [fact.seq for fact in facts if fact.seq not in broken]
        if len(good) > _KEPT:
            with self._lock:
                self._facts[name] = [fact for fact in self._facts[name] if fact.seq >= good[-_KEPT]]
            self._cut.add(name)

    def _reach_back(self, name: str) -> None:
        """Read what was dropped when the oldest at hand failed: newer ones are judged by what served before it."""
        kept = self._of(name)
        if name not in self._cut or not self._failures.stands(kept[0].seq):
            return
        older = [fact for fact in self._ledger.query(KIND, name) if fact.seq < kept[0].seq]
        with self._lock:
            self._facts[name] = [*older, *self._facts[name]]
        self._cut.discard(name)

    def _candidates(self, name: str) -> tuple[list[Fact], dict[int, str]]:
        """Deployments that did not fail, and those of them that callers of the ones before cannot use, with why."""
        facts = [fact for fact in self._of(name) if not self._failures.stands(fact.seq)]
        heirs = [Heir(self._offer(fact), bool(fact.body.get("replace_signature"))) for fact in facts]
        fix = f"headrace serving deploy {name} --replace-signature, if that is meant"
        return facts, {facts[at].seq: f"{why} - {fix}" for at, why in breaks(heirs).items()}

    def _offer(self, fact: Fact) -> Offer | None:
        try:
            deployment = Deployment.from_fact(fact)
            endpoint = deployment.endpoint
            key = (
                *(deployment.models[reference] for reference in endpoint.scoring),
                endpoint.event_time,
                endpoint.join,
            )
            if key not in self._offers:
                self._offers[key] = offer_of(self._ledger, deployment)
            return self._offers[key]
        except Exception:  # noqa: BLE001 - whatever is wrong with it, loading it will say
            return None

    def _read(self, fact: Fact) -> Aspired:
        deployment = Deployment.from_fact(fact)
        versions = {deployment.models[reference] for reference in deployment.endpoint.models}
        return Aspired(deployment, {version: self._wanted(deployment, version) for version in versions})

    def _wanted(self, deployment: Deployment, version: str) -> Wanted:
        endpoint = deployment.endpoint
        if self._workers is None or version == deployment.models[endpoint.schedule[0].model]:
            return Wanted(version, version, self._loader(version))
        return Wanted(version, f"{version} in workers", self._elsewhere(self._workers, endpoint.name, version))

    def _elsewhere(self, workers: Callable[[str, str], None], endpoint: str, version: str) -> Callable[[], Model]:
        def met() -> Model:
            workers(endpoint, version)
            return elsewhere(find(self._ledger, version))

        return met

    def _loader(self, version: str) -> Callable[[], Model]:
        return lambda: load_model(self._ledger, self._files, self._runtime, version)
