"""Archives are somebody else's: nothing outside the scratch folder is touched, and limits hold."""

import gzip
import zipfile

import pytest

from headrace.datasets import archives
from headrace.datasets.archives import plain
from headrace.errors import DataRefused

TEXT = b"id,v\n1,2\n"


def zipped(path, *entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return path


def left(folder):
    return list((folder / "scratch" / "half-made").iterdir())


def test_plain_gzip_and_zip_hold_the_same(tmp_path):
    (tmp_path / "a.csv").write_bytes(TEXT)
    (tmp_path / "b.whatever").write_bytes(gzip.compress(TEXT))
    zipped(
        tmp_path / "c.csv.zip", ("folder/", ""), ("folder/c.csv", TEXT), ("__MACOSX/._c.csv", b"x"), (".hidden", b"x")
    )
    for name in ("a.csv", "b.whatever", "c.csv.zip"):
        with plain(tmp_path / name, tmp_path / "scratch") as data:
            assert data.read_bytes() == TEXT
        assert not left(tmp_path) if name != "a.csv" else data.exists()


def link(name):
    entry = zipfile.ZipInfo(name)
    entry.external_attr = 0o120777 << 16
    return entry


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([("../../escape.csv", TEXT)], "leads out"),
        ([("/etc/escape.csv", TEXT)], "leads out"),
        ([("a\\..\\escape.csv", TEXT)], "leads out|holds"),
        ([(link("data.csv"), b"/etc/passwd")], "is a link"),
        ([("a.csv", TEXT), ("b.csv", TEXT)], "2 data files"),
        ([(".hidden", TEXT)], "0 data files"),
        ([(f"{i}.csv", b"") for i in range(archives.MAX_ENTRIES + 1)], "entries"),
    ],
)
def test_what_a_zip_may_not_be(tmp_path, entries, why):
    with pytest.raises(DataRefused, match=why), plain(zipped(tmp_path / "a.zip", *entries), tmp_path / "scratch"):
        pass
    assert {p.name for p in tmp_path.iterdir()} == {"a.zip", "scratch"}
    assert not left(tmp_path)


@pytest.mark.parametrize("kind", ["zip", "gz"])
def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(archives, "RATIO_FREE_BYTES", 1 << 20)
    zeros = bytes(8 << 20)
    source = tmp_path / f"bomb.{kind}"
    if kind == "zip":
        zipped(source, ("bomb.csv", zeros))
    else:
        source.write_bytes(gzip.compress(zeros))
    with pytest.raises(DataRefused, match="unpacks to too much"), plain(source, tmp_path / "scratch"):
        pass
    assert not left(tmp_path)


def test_damage_is_named(tmp_path):
    damaged = tmp_path / "damaged.csv.gz"
    damaged.write_bytes(gzip.compress(TEXT * 100)[:-12])
    with pytest.raises(DataRefused, match="damaged"), plain(damaged, tmp_path):
        pass
    (tmp_path / "cut.zip").write_bytes(zipped(tmp_path / "whole.zip", ("a.csv", TEXT)).read_bytes()[:40])
    with pytest.raises(DataRefused, match="damaged"), plain(tmp_path / "cut.zip", tmp_path):
        pass
