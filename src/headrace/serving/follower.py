"""Follows the ledger: a newer deployment is loaded beside the one that serves, and takes over once it is proven."""

import itertools
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future

from headrace.errors import HeadraceError
from headrace.models.aliases import KIND as MOVED
from headrace.models.runtime import Runtime
from headrace.serving.dataplane import DataPlane
from headrace.serving.deployment import KIND, Deployment
from headrace.serving.scorer import Post
from headrace.serving.versions import Model, load_model
from headrace.storage.files import Files
from headrace.storage.ledger import Fact, Ledger

POLL_S = 0.1
_HISTORY = 20
_FLIP_S = 10.0


class Follower:
    """A thread that keeps a data plane at the newest deployment that works.

    Args:
        plane: What is kept up to date.
        ledger: Where deployments and versions are recorded.
        files: Where models are.
        runtime: The runtime for a model format.
        post: How the thread reaches the plane's event loop.
        names: Only these endpoints; empty for all.
    """

    def __init__(
        self,
        plane: DataPlane,
        *,
        ledger: Ledger,
        files: Files,
        runtime: Callable[[str], Runtime],
        post: Post,
        names: Sequence[str] = (),
    ) -> None:
        self._plane, self._ledger, self._files, self._runtime = plane, ledger, files, runtime
        self._post, self._names = post, frozenset(names)
        self._models: dict[str, Model] = {}
        self._again: dict[str, Fact] = {}
        self._seen = self._seen_moves = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="deployments", daemon=True)

    def start(self) -> None:
        """Load what is deployed, then watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._stop.set()

    def _run(self) -> None:
        step = self._first
        while True:
            try:
                step()
                self._follow_aliases()
                self._unload()
            except Exception as error:  # noqa: BLE001 - whatever the ledger holds, what serves goes on
                _report(error)
            step = self._poll
            if self._stop.wait(POLL_S):
                return

    def _first(self) -> None:
        """Serve the newest deployment of each endpoint that works, going back in time where the newest does not."""
        facts = self._ledger.query(KIND)
        self._seen = facts[-1].seq if facts else 0
        own: dict[str, list[Fact]] = {}
        for fact in facts:
            if self._wanted(fact):
                own.setdefault(fact.subject, []).append(fact)
        for name, found in own.items():
            refusals = list(itertools.takewhile(bool, map(self._serve, reversed(found[-_HISTORY:]))))
            if refusals:
                self._post(self._plane.refuse, name, refusals[0])

    def _poll(self) -> None:
        facts = self._ledger.query(KIND, after=self._seen)
        self._seen = facts[-1].seq if facts else self._seen
        newest = self._again | {fact.subject: fact for fact in facts if self._wanted(fact)}
        self._again = {}
        for name, fact in newest.items():
            if refusal := self._serve(fact):
                self._post(self._plane.refuse, name, refusal)

    def _follow_aliases(self) -> None:
        for fact in self._ledger.query(MOVED, after=self._seen_moves):
            self._seen_moves = fact.seq
            self._post(self._plane.move, fact.subject, fact.body["alias"], fact.body["version"])

    def _serve(self, fact: Fact) -> str:
        """Load what a deployment needs and make it serve; return why not, or nothing."""
        try:
            deployment = Deployment.from_fact(fact)
            self._flip(deployment, {ref: self._model(version) for ref, version in deployment.models.items()})
        except Exception as error:  # noqa: BLE001 - a model may fail in ways of its own; it must not serve
            if isinstance(error, HeadraceError) and error.retryable:
                self._again[fact.subject] = fact
            _report(error)
            return f"deployment {fact.seq}: {error or type(error).__name__}"
        return ""

    def _model(self, version: str) -> Model:
        if version not in self._models:
            self._models[version] = load_model(self._ledger, self._files, self._runtime, version)
        return self._models[version]

    def _flip(self, deployment: Deployment, models: Mapping[str, Model]) -> None:
        done: Future[None] = Future()

        def flip() -> None:
            try:
                self._plane.flip(deployment, models)
                done.set_result(None)
            except Exception as error:  # noqa: BLE001 - told to the thread that asked
                done.set_exception(error)

        self._post(flip)
        done.result(_FLIP_S)

    def _wanted(self, fact: Fact) -> bool:
        return not self._names or fact.subject in self._names

    def _unload(self) -> None:
        """Release models that no request can meet any more."""
        if self._models.keys() - self._plane.in_use():
            used = self._plane.in_use()
            for version in [v for v in self._models if v not in used]:
                self._models.pop(version).loaded.close()


def _report(error: Exception) -> None:
    sys.stderr.write(f"serving: {error or type(error).__name__}\n")
