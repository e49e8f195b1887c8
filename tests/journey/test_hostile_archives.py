"""Archives made to do harm, restored as a backup or put as data: nothing is kept, written elsewhere or run."""

import hashlib
import json
from pathlib import Path

import hostile
import pytest

from headrace.assembly import open_platform
from headrace.datasets.put import put
from headrace.errors import HeadraceError, IntegrityError, Refused
from headrace.journey.backup import restore
from headrace.settings import Settings


@pytest.fixture
def stores(tmp_path):
    (tmp_path / "project").mkdir()
    opened = open_platform(Settings(root=tmp_path / "project"))
    yield opened.stores()
    assert opened.ledger().query("*") == []
    assert not (tmp_path / "escaped").exists()
    assert not Path(hostile.ESCAPED).exists()
    assert not (tmp_path / "canary").exists()
    opened.close()


@pytest.mark.parametrize("kind", hostile.ARCHIVES | hostile.INSIDE)
def test_none_is_restored(stores, tmp_path, kind):
    made = hostile.ARCHIVES.get(kind) or hostile.INSIDE[kind]
    (tmp_path / "bad").write_bytes(made())
    with pytest.raises((Refused, IntegrityError)) as refused:
        restore(stores, tmp_path / "bad")
    assert str(tmp_path / "bad") in refused.value.where
    assert stores.files.list("") == []


def sealed(facts, contents=None, files=None):
    """A backup of these facts and files, each with its right digest."""
    entries = {"facts.jsonl": b"\n".join(facts), **{f"files/{name}": data for name, data in (files or {}).items()}}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in entries.items()}
    about = {"format": "headrace-backup-1", "facts": len(facts), "size_bytes": 0, "sha256": digests}
    text = json.dumps(about).encode() if contents is None else contents
    return hostile.zipped([*entries.items(), ("contents.json", text)])


def fact(kind="model.version", subject="wine", body=None, seq=1, **more):
    return json.dumps({"kind": kind, "subject": subject, "body": body or {}, "at": 1.0, "seq": seq, **more}).encode()


VERSION = {
    "name": "wine",
    "version": 1,
    "digest": "0",
    "format": "onnx",
    "manifest": "0",
    "signature": {"kind": "tensor", "inputs": [], "outputs": []},
}
DEEP = b"[" * 100_000 + b"]" * 100_000
SEALED = {
    "no fact": sealed([b"[]"]),
    "a fact of other types": sealed([fact(kind=["a"])]),
    "a fact without a kind": sealed([b'{"subject": "a"}']),
    "a nested fact": sealed([b'{"kind": "a", "subject": "b", "body": ' + DEEP + b"}"]),
    "facts with gaps": sealed([fact(kind="a"), fact(kind="a", seq=3)]),
    "a version of nothing": sealed([fact()]),
    "a version elsewhere": sealed([fact(body=VERSION | {"folder": "../../outside"})]),
    "a version at the root": sealed([fact(body=VERSION | {"folder": "/etc"})]),
    "a dataset of nothing": sealed([fact(kind="dataset.version", subject="rows")]),
    "an alias of nothing": sealed([fact(kind="alias.moved", body={"hash": 1})]),
    "contents that are a list": sealed([], b"[]"),
    "contents that are nested": sealed([], DEEP),
    "contents without digests": sealed([], b'{"sha256": 1, "facts": "x", "size_bytes": null, "format": []}'),
}


@pytest.mark.parametrize("kind", SEALED)
def test_a_backup_whose_digests_are_right_is_not_believed_in_the_rest(stores, tmp_path, kind):
    (tmp_path / "bad").write_bytes(SEALED[kind])
    with pytest.raises(HeadraceError):
        restore(stores, tmp_path / "bad")


TEXT = {"pickle 0.pkl", "script.py"}  # lines of text, which are a table of text: kept, and never run


@pytest.mark.parametrize("kind", sorted((hostile.ARCHIVES | hostile.PICKLES).keys() - TEXT))
def test_none_is_put_as_data(stores, tmp_path, kind):
    made = hostile.ARCHIVES[kind]() if kind in hostile.ARCHIVES else hostile.PICKLES[kind](tmp_path / "canary")
    (tmp_path / "bad.csv").write_bytes(made)
    with pytest.raises(HeadraceError) as refused:
        put(stores, "rows", tmp_path / "bad.csv")
    assert "bad.csv" in str(refused.value)
