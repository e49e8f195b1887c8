"""A watched folder of models, ``NAME/1/``, ``NAME/2/``, …: of each model the newest version that works is served.

What is loaded is a copy, so that what was checked is what scores.
"""

import hashlib
import json
import shutil
import tempfile
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from headrace.models.artifact import write_files
from headrace.models.registry import EXAMPLES, digest_of
from headrace.models.runtime import Runtime
from headrace.models.signature import Signature
from headrace.models.version import ModelVersion
from headrace.serving.aspired import Aspired, Failures, Refusals, Wanted
from headrace.serving.deployment import Deployment
from headrace.serving.endpoint import Endpoint, Preference
from headrace.serving.model_folder import State, blank_examples, contents, declared, said, states
from headrace.serving.provenance import Heard
from headrace.serving.succession import Heir, Offer, breaks
from headrace.serving.versions import Model, proven

DEADLINE_S = 5.0
_TOUCHED = "its files changed since it was loaded - give what is new a number of its own; or unload it, then load it"


class FolderSource:
    """Models of a folder; a ``Source``.

    Args:
        folder: What is watched.
        runtime: The runtime for a model format.
        scratch: Where copies of what is loaded are kept meanwhile.
        names: Only these models; empty for all.
        every_s: Seconds from one look to the next; what changed between two looks is not loaded yet.
        heard: Told of what was loaded, before it answers anybody.
    """

    def __init__(
        self,
        folder: Path,
        *,
        runtime: Callable[[str], Runtime],
        scratch: Path,
        names: Sequence[str] = (),
        every_s: float = 1.0,
        heard: Heard = lambda *_: None,
    ) -> None:
        self.every_s, self._heard = every_s, heard
        self._folder, self._runtime, self._scratch, self._names = folder, runtime, scratch, frozenset(names)
        self._lock = threading.Lock()
        self._seen: Mapping[tuple[str, int], State] = {}
        self._whole: Mapping[tuple[str, int], State] = {}
        self._loaded: dict[tuple[str, int], State] = {}
        self._touched: frozenset[tuple[str, int]] = frozenset()
        self._failures = Failures()
        self._offers: dict[tuple[str, int], tuple[State, Offer | None]] = {}

    def poll(self, again: str = "") -> Collection[str]:
        """Models with versions that came whole, changed or went, or are to be tried again."""
        seen = states(self._folder, self._names)
        self._failures.forget(lambda key: isinstance(key, tuple) and key[0] == again)
        due = {key[0] for key in self._failures.due() if isinstance(key, tuple)}
        with self._lock:
            # A version in memory is what was loaded, whatever becomes of its files, until its folder goes.
            held = {key: state for key, state in self._loaded.items() if key in seen}
            whole = {key: state for key, state in seen.items() if self._seen.get(key) == state} | held
            touched = frozenset(key for key, state in held.items() if seen[key] != state)
            changed = {key[0] for key in whole.keys() | self._whole.keys() if whole.get(key) != self._whole.get(key)}
            changed |= {key[0] for key in touched ^ self._touched}
            self._seen, self._whole, self._touched = seen, whole, touched
        return sorted(changed | due)

    def aspired(self, name: str) -> Aspired | None:
        """The newest version that came whole and was not refused."""
        candidates, broken = self._candidates(name)
        for number, state in candidates:
            if number not in broken:
                version = f"{name}@{number}"
                endpoint = Endpoint(name, (Preference(version, DEADLINE_S),), DEADLINE_S)
                wanted = self._wanted(name, number, state)
                return Aspired(Deployment(endpoint, {version: version}, who="model folder"), {version: wanted})
        return None

    def failed(self, aspired: Aspired, version: str, error: Exception) -> None:  # noqa: ARG002 - the port's
        """Refuse the version until its files change."""
        (tried,) = aspired.wanted.values()
        name, number = aspired.deployment.endpoint.name, int(tried.name.rpartition("@")[2])
        state = dict(self._versions(name)).get(number)
        self._failures.add((name, number, state), error)

    def refusals(self, name: str) -> Refusals:
        """Why newer versions than the one that serves are not served."""
        versions = self._versions(name)
        why = {f"{name}@{number}": self._failures.why((name, number, state)) for number, state in versions}
        why |= {f"{name}@{number}": said for number, said in self._candidates(name)[1].items()}
        why |= {f"{name}@{number}": _TOUCHED for own, number in self._touched if own == name}
        found = {version: said for version, said in why.items() if said}
        newest = next(iter(why), "")
        known = bool(versions) or any(key[0] == name for key in self._seen)
        return Refusals(f"{newest}: {found[newest]}" if newest in found else "", found, known)

    def _versions(self, name: str) -> list[tuple[int, State]]:
        with self._lock:
            return sorted(((key[1], state) for key, state in self._whole.items() if key[0] == name), reverse=True)

    def _candidates(self, name: str) -> tuple[list[tuple[int, State]], dict[int, str]]:
        """Versions that did not fail, newest first; and those that callers of older ones cannot use, with why."""
        found = [(n, state) for n, state in self._versions(name) if not self._failures.stands((name, n, state))]
        heirs = [Heir(self._offer(name, number, state)) for number, state in reversed(found)]
        fix = "remove the folders of older versions, if that is meant"
        return found, {found[-1 - at][0]: f"{why} - {fix}" for at, why in breaks(heirs).items()}

    def _offer(self, name: str, number: int, state: State) -> Offer | None:
        known = self._offers.get((name, number))
        if known is not None and known[0] == state:
            return known[1]
        try:
            offer = Offer(said(self._folder / name / state.folder, state) or self._declared(name, state))
        except Exception:  # noqa: BLE001 - whatever is wrong with it, loading it will say
            offer = None
        self._offers[name, number] = (state, offer)
        return offer

    def _wanted(self, name: str, number: int, state: State) -> Wanted:
        version = f"{name}@{number}"
        key = f"{self._folder}/{version}/{hashlib.sha256(repr(state).encode()).hexdigest()}"
        copy = self._scratch / hashlib.sha256(key.encode()).hexdigest()

        def load() -> Model:
            model = self._load(name, number, state, copy)
            with self._lock:
                self._loaded[name, number] = state
            return model

        def discard() -> None:
            with self._lock:
                self._loaded.pop((name, number), None)
            shutil.rmtree(copy, ignore_errors=True)

        return Wanted(version, key, load, discard)

    def _declared(self, name: str, state: State) -> Signature:
        where = self._folder / name / state.folder
        found = contents(where)
        with tempfile.TemporaryDirectory() as half:
            write_files(found.files, Path(half))
            return declared(self._runtime, found.format, Path(half), where)

    def _load(self, name: str, number: int, state: State, copy: Path) -> Model:
        where = self._folder / name / state.folder
        found = contents(where)
        offer = self._offer(name, number, state)
        signature = found.signature or (offer.signature if offer else self._declared(name, state))
        files = {EXAMPLES: json.dumps(blank_examples(signature)).encode(), **found.files}
        self._scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._scratch) as half:
            write_files(files, Path(half))
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(half, copy)
        version = ModelVersion(name, number, digest_of(found.files, signature), signature, found.format)
        model = proven(version, copy, self._runtime)
        self._heard(version, where)
        return model
