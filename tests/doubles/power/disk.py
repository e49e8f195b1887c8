"""A disk that does only what it must: what was not synced may be there after a power cut, in part, or not.

A file's bytes and length are there for sure once its fsync has returned, a name once that of its folder has. Of the rest
any part may have come to the disk, in any order; of a write, any of its sectors.
"""

from collections import defaultdict
from itertools import pairwise
from pathlib import Path

SECTOR = 512
_CHANCE = 0.5


class _File:
    """A file's bytes for sure, and what was done since."""

    def __init__(self):
        self.sure, self.since = bytearray(), []

    def settle(self, count):
        for change in self.since[:count]:
            _apply(self.sure, change)
        del self.since[:count]


class Disk:
    """What is on the disk below a folder, as recorded events happen to it. The folder itself is there for sure.

    Args:
        folder: As it was recorded; empty at first.
    """

    def __init__(self, folder):
        self._root = str(Path(folder).resolve())
        self._now = {self._root: None}  # name to its file, None for a folder, as programs see it
        self._sure = {self._root: None}
        self._names = defaultdict(list)  # folder to what was done in it since
        self._begun = {}

    def take(self, event):
        """One more event; those that change no file are passed over."""
        kind, *about = event
        change = getattr(self, "_" + kind.replace(" ", "_"), None)
        if change is not None:
            change(*about)

    def after_a_cut(self, target, chance=None):
        """Write what is there after a power cut to ``target``.

        Args:
            target: An empty folder.
            chance: Draws what of the unsynced came to the disk; without it nothing did.
        """
        names = dict(self._sure)
        if chance is not None:
            for change in (change for changes in self._names.values() for change in changes):
                if chance.random() < _CHANCE:
                    _rename(names, change)
        for path in sorted(names):  # folders before what is in them
            there = Path(f"{target}{path.removeprefix(self._root)}")
            if not there.parent.is_dir():  # its folder's own name is lost
                continue
            if names[path] is None:
                there.mkdir(exist_ok=True)
            else:
                there.write_bytes(_survivor(names[path], chance))

    def _create(self, path):
        self._named(path, _File())

    def _folder(self, path):
        self._named(path, None)

    def _link(self, before, after):
        self._named(after, self._now[before])

    def _rename(self, before, after):
        file = self._now[before]
        self._unlink(before)
        self._named(after, file)

    def _unlink(self, path):
        self._now.pop(path, None)
        self._names[_folder_of(path)].append((path, None, False))

    def _write(self, path, offset, data):
        self._now[path].since.append((offset, data))

    def _truncate(self, path, size):
        self._now[path].since.append((size, None))

    def _sync_begins(self, path, mark):
        file = self._now[path]
        self._begun[mark] = file, len(self._names[path] if file is None else file.since)

    def _sync_done(self, path, mark):
        file, count = self._begun.pop(mark)
        # Of two syncs of a file at once, the first to end has settled what the other one counted.
        for other, (held, so_many) in self._begun.items():
            if held is file:
                self._begun[other] = held, max(0, so_many - count)
        if file is not None:
            file.settle(count)
            return
        for change in self._names[path][:count]:
            _rename(self._sure, change)
        del self._names[path][:count]

    def _named(self, path, file):
        self._now[path] = file
        self._names[_folder_of(path)].append((path, file, True))


def _folder_of(path):
    return path.rpartition("/")[0]


def _rename(names, change):
    path, file, there = change
    if there:
        names[path] = file
    else:
        names.pop(path, None)


def _apply(content, change):
    offset, data = change
    if data is None:
        del content[offset:]
        content.extend(bytes(offset - len(content)))
    else:
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(data)] = data


def _survivor(file, chance):
    """The file's bytes, with some of what was not synced where ``chance`` draws it."""
    content = bytearray(file.sure)
    for offset, data in file.since if chance is not None else ():
        fate = chance.choice(("lost", "whole", "torn"))
        if fate == "whole" or (fate == "torn" and data is None):
            _apply(content, (offset, data))
        elif fate == "torn":
            for start, end in _sectors(offset, len(data)):
                if chance.random() < _CHANCE:
                    _apply(content, (offset + start, data[start:end]))
    return bytes(content)


def _sectors(offset, size):
    """Where a write at ``offset`` begins and ends in each sector, counted from its own begin."""
    edges = [0, *range(-offset % SECTOR or SECTOR, size, SECTOR), size]
    return pairwise(edges)
