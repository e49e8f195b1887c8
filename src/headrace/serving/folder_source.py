"""A watched folder of models, ``NAME/1/``, ``NAME/2/``, …: of each the newest versions that work are served.

How many, and what else is said of a model, stands in ``models.toml`` there. What is loaded is a copy, so that what was
checked is what scores.
"""

import hashlib
import json
import shutil
import tempfile
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from headrace.errors import Unavailable
from headrace.models.artifact import write_files
from headrace.models.registry import EXAMPLES, digest_of
from headrace.models.runtime import Runtime
from headrace.models.signature import Signature
from headrace.models.version import ModelVersion
from headrace.serving.aspired import Aspired, Failures, Moved, Refusals, Wanted
from headrace.serving.deployment import Deployment
from headrace.serving.endpoint import Preference
from headrace.serving.folder_settings import FILE, POLL_S, FolderSettings, Written
from headrace.serving.model_folder import State, blank_examples, contents, declared, said, states
from headrace.serving.provenance import Heard
from headrace.serving.report import report
from headrace.serving.scratch import Scratch
from headrace.serving.succession import Heir, Offer, breaks
from headrace.serving.versions import Model, proven, tried

_TOUCHED = "its files changed since it was loaded - give what is new a number of its own; or unload it, then load it"
_READING = 1  # another number once runtimes declare otherwise: what was kept before is not read any more
Warned = Callable[[Sequence[str]], None]
"""Told what is wrong that is no endpoint's part."""
_ABSENT = "its folder is not there, or not whole yet"


class FolderSource:
    """Models of a folder; a ``Source``.

    Args:
        folder: What is watched.
        runtime: The runtime for a model format.
        scratch: Where copies of what is loaded are kept meanwhile, and what versions declared for longer.
        moved: Told of every label that means another version, or none any more.
        heard: Told of what was loaded, before it answers anybody.
        warned: Told what of the settings changes nothing, whenever that is something else.

    Raises:
        SettingsError: ``models.toml`` cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        *,
        runtime: Callable[[str], Runtime],
        scratch: Scratch,
        moved: Moved,
        heard: Heard = lambda *_: None,
        warned: Warned = lambda _: None,
    ) -> None:
        self._folder, self._runtime, self._scratch = folder, runtime, scratch
        self._moved, self._heard, self._warned = moved, heard, warned
        self._warnings: dict[str, str] = {}
        self._lock = threading.Lock()
        self._written = Written(folder)
        self._settings = FolderSettings()
        self._renewed: FolderSettings | None = self._written.settings
        self._seen: Mapping[tuple[str, int], State] = {}
        self._whole: Mapping[tuple[str, int], State] = {}
        self._loaded: dict[tuple[str, int], State] = {}
        self._stood: dict[str, tuple[int, ...]] = {}
        self._settled = False
        self._touched: frozenset[tuple[str, int]] = frozenset()
        self._failures = Failures()
        self._offers: dict[tuple[str, int], tuple[State, Offer | None]] = {}

    @property
    def every_s(self) -> float:
        """Seconds from one look to the next; soon after one that saw changes, to see whether they came whole."""
        return self._settings.poll_s if self._settled else min(self._settings.poll_s, POLL_S)

    @property
    def settled(self) -> bool:
        """Whether the last two looks saw the same."""
        return self._settled

    @property
    def path(self) -> Path:
        """The folder."""
        return self._folder

    @property
    def models(self) -> Collection[str]:
        """Models that the folder has, whether they are served or not."""
        return {name for name, _ in self._seen}

    def configure(self, change: Callable[[FolderSettings], FolderSettings]) -> None:
        """Serve by other settings from the next poll on, until ``models.toml`` changes."""
        with self._lock:
            self._renewed = change(self._renewed or self._settings)

    def poll(self, again: str = "") -> Collection[str]:
        """Models with versions that came whole, changed or went, or are tried again; all when settings changed.

        Raises:
            Unavailable: The folder went as a whole, as when a disk is gone: nothing is unloaded for that.
        """
        seen = states(self._folder)
        if self._seen and not self._folder.is_dir():
            why, fix = "what serves goes on", "mount it, or empty it if its models are to go"
            raise Unavailable("the model folder is not there any more", where=str(self._folder), why=why, fix=fix)
        renewed = self._renew()
        self._tell_strange({name for name, _ in seen})
        self._failures.forget(lambda key: isinstance(key, tuple) and key[0] == again)
        due = {key[0] for key in self._failures.due() if isinstance(key, tuple)}
        with self._lock:
            # A version in memory is what was loaded, whatever becomes of its files, until its folder goes.
            held = {key: state for key, state in self._loaded.items() if key in seen}
            whole = {key: state for key, state in seen.items() if self._seen.get(key) == state} | held
            touched = frozenset(key for key, state in held.items() if seen[key] != state)
            changed = {key[0] for key in whole.keys() | self._whole.keys() if whole.get(key) != self._whole.get(key)}
            changed |= {key[0] for key in touched ^ self._touched}
            self._settled = seen == self._seen and self._written.settled
            self._seen, self._whole, self._touched = seen, whole, touched
        return sorted(changed | due | ({name for name, _ in seen} if renewed else set()))

    def aspired(self, name: str) -> Aspired | None:
        """The newest versions that came whole and were not refused, as many as the settings say.

        Where none of those that are named is there and works, what serves goes on.
        """
        settings = self._settings.of(name)
        if settings is None:
            return None
        if held := self._in_memory(name):
            self._stood[name] = tuple(held)
        candidates, broken = self._candidates(name)
        whole = dict(candidates)
        chosen = settings.chosen([number for number in whole if number not in broken])
        if not chosen:
            whole = self._standing(name)
            chosen = list(whole)
        if not chosen:
            return None
        wanted = {f"{name}@{number}": self._wanted(name, number, whole[number]) for number in chosen}
        newest, *others = wanted
        schedule = (Preference(newest, settings.endpoint.deadline_s),)
        endpoint = replace(settings.endpoint, schedule=schedule, standby=tuple(others))
        return Aspired(Deployment(endpoint, {version: version for version in wanted}, who="model folder"), wanted)

    def failed(self, aspired: Aspired, version: str, error: Exception) -> None:
        """Refuse the version until its files change."""
        endpoint = aspired.deployment.endpoint
        number = int((version or endpoint.schedule[0].model).rpartition("@")[2])
        state = dict(self._versions(endpoint.name)).get(number)
        self._failures.add((endpoint.name, number, state), error)

    def refusals(self, name: str) -> Refusals:
        """Why versions that are to be served are not."""
        settings, versions = self._settings.of(name), self._versions(name)
        why = {number: self._failures.why((name, number, state)) for number, state in versions}
        why |= self._candidates(name)[1]
        why |= {number: _TOUCHED for own, number in self._touched if own == name}
        if settings and isinstance(settings.versions, tuple):
            why |= {number: _ABSENT for number in settings.versions if number not in dict(versions)}
        found = {number: said for number, said in why.items() if said}
        newest = max(why, default=0)
        about = f"{name}@{newest}: {found[newest]}" if newest in found else ""
        known = settings is not None and any(key[0] == name for key in self._whole.keys() | self._seen.keys())
        return Refusals(self._written.wrong or about, {f"{name}@{n}": said for n, said in found.items()}, known)

    def _renew(self) -> bool:
        """Take over settings that changed; whether what is to be told of any model may have."""
        turned = self._written.turned()
        with self._lock:
            if turned and not self._written.wrong:
                self._renewed = self._written.settings
            before, self._settings = self._settings, self._renewed or self._settings
            renewed, self._renewed = self._renewed is not None, None
        due = self._settings.labels
        for model, label in before.labels.keys() - due.keys():
            self._moved(model, label, 0)
        for (model, label), number in due.items():
            if before.labels.get((model, label)) != number:
                self._moved(model, label, number)
        return turned or renewed

    def _tell_strange(self, there: Collection[str]) -> None:
        """Say which tables of the settings are of no model: one that is misspelt changes nothing."""
        has = f"{self._folder} has {', '.join(sorted(there)) or 'none'}"
        warnings = {
            name: f"[model.{name}] of {FILE} is of no model - {has} - "
            f"fix: put it at {self._folder / name / '1'}, or name one that is there"
            for name in sorted(self._settings.models.keys() - there)
        }
        for name in warnings.keys() - self._warnings.keys():
            report(f"serving: {warnings[name]}")
        if warnings != self._warnings:
            self._warnings = warnings
            self._warned(list(warnings.values()))

    def _versions(self, name: str) -> list[tuple[int, State]]:
        """Versions that came whole and that the settings may want, newest first."""
        settings = self._settings.of(name)
        exactly = settings.versions if settings and isinstance(settings.versions, tuple) else None
        with self._lock:
            whole = ((key[1], state) for key, state in self._whole.items() if key[0] == name)
            return sorted(((n, state) for n, state in whole if exactly is None or n in exactly), reverse=True)

    def _in_memory(self, name: str) -> dict[int, State]:
        """Versions that are loaded and whose folders are there, newest first."""
        with self._lock:
            held = ((key[1], state) for key, state in self._loaded.items() if key[0] == name and key in self._whole)
            return dict(sorted(held, reverse=True))

    def _standing(self, name: str) -> dict[int, State]:
        """Versions that serve, or did until they were unloaded for one that then failed; newest first."""
        with self._lock:
            whole = {n: self._whole[name, n] for n in self._stood.get(name, ()) if (name, n) in self._whole}
        good = {n: state for n, state in whole.items() if not self._failures.stands((name, n, state))}
        return self._in_memory(name) or good

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
            offer = Offer(said(self._folder / name / state.folder, state) or self._declared(name, number, state))
        except Exception:  # noqa: BLE001 - whatever is wrong with it, loading it will say
            offer = None
        self._offers[name, number] = (state, offer)
        return offer

    def _wanted(self, name: str, number: int, state: State) -> Wanted:
        version = f"{name}@{number}"
        key = self._key(name, number, state)
        copy = self._scratch.path / key

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

    def _key(self, name: str, number: int, state: State) -> str:
        return hashlib.sha256(repr((str(self._folder.resolve()), name, number, state)).encode()).hexdigest()

    def _declared(self, name: str, number: int, state: State) -> Signature:
        """What a version declares; to read that takes a worker process, so it is kept over restarts."""
        kept = f"{self._key(name, number, state)}-{_READING}.json"
        with suppress(ValueError, KeyError, TypeError):  # nothing was kept, or something else lies there
            return Signature.from_json(json.loads(self._scratch.kept(kept)))
        where = self._folder / name / state.folder
        found = contents(where)
        with tempfile.TemporaryDirectory(dir=self._scratch.path) as half:
            write_files(found.files, Path(half))
            signature = declared(self._runtime, found.format, Path(half), where)
        self._scratch.keep(kept, json.dumps(signature.to_json()))
        return signature

    def _load(self, name: str, number: int, state: State, copy: Path) -> Model:
        where = self._folder / name / state.folder
        found = contents(where)
        offer = self._offer(name, number, state)
        signature = found.signature or (offer.signature if offer else self._declared(name, number, state))
        files = {EXAMPLES: json.dumps(blank_examples(signature)).encode(), **found.files}
        with tempfile.TemporaryDirectory(dir=self._scratch.path) as half:
            write_files(files, Path(half))
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(half, copy)
        version = ModelVersion(name, number, digest_of(found.files, signature), signature, found.format)
        tried(version, copy, self._runtime(found.format), json.loads(files[EXAMPLES]))
        model = proven(version, copy, self._runtime)
        self._heard(version, where)
        return model
