"""What else a Keras model's archive may hold is refused; Keras is not even installed here."""

import io
import json
import zipfile

import pytest

from headrace.engines.keras.archive import read, write
from headrace.errors import HeadraceError, IntegrityError, Refused

CONFIG = {
    "module": "keras",
    "class_name": "Sequential",
    "config": {"name": "m", "layers": []},
    "registered_name": None,
}
ENTRIES = {
    "metadata.json": b'{"keras_version": "3.15.0"}',
    "config.json": json.dumps(CONFIG).encode(),
    "model.weights.h5": bytes(range(256)) * 4,
}


def zipped(entries, packed=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packed) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model.keras").write_bytes(zipped(ENTRIES))
    return tmp_path


def test_an_archive_is_read_and_written_anew(folder, tmp_path_factory):
    due = (ENTRIES["config.json"], ENTRIES["model.weights.h5"])
    assert read(folder) == due
    anew = tmp_path_factory.mktemp("anew")
    assert zipfile.ZipFile(write(*due, anew)).namelist() == ["config.json", "model.weights.h5"]
    assert read(anew) == due


@pytest.mark.parametrize(
    "more",
    [
        {"assets/string_lookup/vocabulary.txt": b"a"},
        {"../escape": b"a"},
        {"/escape": b"a"},
        {"model.weights.npz": b"PK"},
        {"model.weights.json": b"{}"},
        {"data.pkl": b"cos\nsystem\n."},
        {"config.json/": b""},
        {"config.json": b" " * (65 << 20)},
        {"model.weights.h5": bytes(64 << 20)},
    ],
    ids=lambda more: next(iter(more)),
)
def test_what_else_an_archive_may_hold_is_refused(folder, more):
    (folder / "model.keras").write_bytes(zipped(ENTRIES | more, zipfile.ZIP_DEFLATED))
    with pytest.raises(Refused):
        read(folder)


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5"])
def test_both_parts_are_due(folder, name):
    (folder / "model.keras").write_bytes(zipped({n: c for n, c in ENTRIES.items() if n != name}))
    with pytest.raises(Refused, match=name):
        read(folder)


def test_two_entries_of_one_name_are_refused(folder):
    with zipfile.ZipFile(folder / "model.keras", "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("config.json", ENTRIES["config.json"])
    with pytest.raises(Refused, match="two entries"):
        read(folder)


def test_no_file_and_no_archive_are_refused(folder):
    for content in (b"", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", zipped(ENTRIES)[:-30]):
        (folder / "model.keras").write_bytes(content)
        with pytest.raises(Refused):
            read(folder)
    (folder / "model.keras").unlink()
    with pytest.raises(IntegrityError, match="no such file"):
        read(folder)


def test_bits_changed_anywhere_never_make_another_model(folder):
    content, due, refused = bytearray(zipped(ENTRIES)), read(folder), 0
    for at in range(0, len(content) * 8, 7):
        content[at // 8] ^= 1 << at % 8
        (folder / "model.keras").write_bytes(content)
        try:
            assert read(folder) == due
        except HeadraceError:
            refused += 1
        content[at // 8] ^= 1 << at % 8
    assert refused > len(content) * 8 / 7 * 0.7
