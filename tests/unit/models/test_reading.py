import os

import pytest

from headrace.errors import Refused, UsageError
from headrace.models import reading
from headrace.models.reading import read_file, read_folder


def test_only_a_plain_file_is_read(tmp_path):
    (tmp_path / "model").write_bytes(b"tree")
    (tmp_path / "link").symlink_to("model")
    os.mkfifo(tmp_path / "pipe")
    assert read_file(tmp_path / "model") == b"tree"
    for name in ("link", "pipe", "."):
        with pytest.raises(Refused):
            read_file(tmp_path / name)
    with pytest.raises(UsageError, match="No such file"):
        read_file(tmp_path / "absent")


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "model"
    (made / "variables").mkdir(parents=True)
    (made / "assets").mkdir()
    (made / "graph.pb").write_bytes(b"graph")
    (made / "variables" / "data-0").write_bytes(b"weights")
    return made


def test_a_folder_is_its_files_by_relative_path(folder):
    assert read_folder(folder) == {"graph.pb": b"graph", "variables/data-0": b"weights"}


@pytest.mark.parametrize("where", ["link", "assets/link", "variables/link"])
@pytest.mark.parametrize("target", ["/etc/hostname", "/etc", "../graph.pb", "nowhere"])
def test_a_link_in_a_folder_is_refused(folder, where, target):
    (folder / where).symlink_to(target)
    with pytest.raises(Refused, match="link"):
        read_folder(folder)


def test_a_link_to_a_folder_is_refused(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(Refused, match="link"):
        read_folder(tmp_path / "link")


@pytest.mark.parametrize("name", [".hidden", "a b", "ü", "new\nline", "back\\slash", "x" * 129])
def test_a_name_that_no_file_of_a_model_has_is_refused(folder, name):
    (folder / "assets" / name).write_bytes(b"")
    with pytest.raises(Refused, match="not allowed"):
        read_folder(folder)


def test_a_device_in_a_folder_is_refused(folder):
    os.mkfifo(folder / "assets" / "pipe")
    with pytest.raises(Refused, match="plain files"):
        read_folder(folder)


def test_files_are_bounded_together(folder, monkeypatch):
    monkeypatch.setattr(reading, "MOST_BYTES", 11)
    with pytest.raises(Refused, match="too long"):
        read_folder(folder)
    monkeypatch.setattr(reading, "MOST_BYTES", 12)
    assert len(read_folder(folder)) == 2
    monkeypatch.setattr(reading, "MOST_FILES", 1)
    with pytest.raises(Refused, match="too many files"):
        read_folder(folder)


def test_a_folder_is_not_endlessly_deep(folder):
    deep = folder.joinpath(*["d"] * 16)
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"")
    with pytest.raises(Refused, match="deep"):
        read_folder(folder)
