"""Follows the ledger: a newer deployment is loaded beside the one that serves, and takes over once it is proven."""

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future

from headrace.errors import HeadraceError
from headrace.models.runtime import Runtime
from headrace.serving.dataplane import DataPlane
from headrace.serving.deployment import KIND, Deployment, history
from headrace.serving.scorer import Post
from headrace.serving.versions import Model, load_model
from headrace.storage.files import Files
from headrace.storage.ledger import Ledger

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
        self._seen = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="deployments", daemon=True)

    def start(self) -> None:
        """Load what is deployed, then watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._stop.set()

    def _run(self) -> None:
        self._first()
        while not self._stop.wait(POLL_S):
            try:
                self._poll()
            except HeadraceError as error:  # the ledger is busy or away: what serves goes on, the next poll sees
                _report(error)
            self._unload()

    def _first(self) -> None:
        """Load the newest deployment of each endpoint that works, going back in time where the newest does not."""
        try:
            known = [d for d in history(self._ledger) if self._wanted(d)]
        except HeadraceError as error:
            _report(error)
            return
        self._seen = known[-1].seq if known else 0
        for name in dict.fromkeys(d.endpoint.name for d in known):
            self._serve_newest([d for d in known if d.endpoint.name == name][-_HISTORY:])

    def _serve_newest(self, deployments: Sequence[Deployment]) -> None:
        first_refusal = ""
        for deployment in reversed(deployments):
            refusal = self._serve(deployment)
            first_refusal = first_refusal or refusal
            if not refusal:
                break
        if first_refusal:
            self._post(self._plane.refuse, deployments[-1].endpoint.name, first_refusal)

    def _poll(self) -> None:
        facts = self._ledger.query(KIND, after=self._seen)
        newest = {d.endpoint.name: d for d in map(Deployment.from_fact, facts) if self._wanted(d)}
        self._seen = facts[-1].seq if facts else self._seen
        for deployment in newest.values():
            if refusal := self._serve(deployment):
                self._post(self._plane.refuse, deployment.endpoint.name, refusal)

    def _serve(self, deployment: Deployment) -> str:
        """Load what the deployment needs and make it serve; return why not, or nothing."""
        try:
            models = {ref: self._model(version) for ref, version in deployment.models.items()}
            self._flip(deployment, models)
        except HeadraceError as error:
            _report(error)
            return f"deployment {deployment.seq}: {error}"
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
            except HeadraceError as error:
                done.set_exception(error)

        self._post(flip)
        done.result(_FLIP_S)

    def _wanted(self, deployment: Deployment) -> bool:
        return not self._names or deployment.endpoint.name in self._names

    def _unload(self) -> None:
        """Release models that no request can meet any more."""
        if self._models.keys() - self._plane.in_use():
            used = self._plane.in_use()
            for version in [v for v in self._models if v not in used]:
                self._models.pop(version).loaded.close()


def _report(error: HeadraceError) -> None:
    sys.stderr.write(f"serving: {error}\n")
