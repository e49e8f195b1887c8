"""``headrace.conformance.files`` on a local folder."""

import os

import pytest

from headrace.conformance.files import FilesSuite
from headrace.engines.local.files import open_files
from headrace.errors import NameRefused
from headrace.settings import Settings


class TestLocalFiles(FilesSuite):
    @pytest.fixture
    def files(self, tmp_path):
        return open_files(Settings(root=tmp_path / "project"), "local")


def test_a_uri_names_the_folder(tmp_path):
    files = open_files(Settings(root=tmp_path), "local:shared/store")
    (tmp_path / "source").write_text("x")
    files.put(tmp_path / "source", "a/b")
    assert (tmp_path / "shared" / "store" / "a" / "b").read_text() == "x"


def test_a_link_out_of_the_store_is_refused(tmp_path):
    files = open_files(Settings(root=tmp_path), "local:store")
    (tmp_path / "store").mkdir()
    (tmp_path / "secret").write_text("x")
    (tmp_path / "store" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(NameRefused, match="link"):
        files.get("link")


def test_an_object_is_on_disk_before_its_name_is(tmp_path, monkeypatch):
    order = []
    sync, replace = os.fsync, os.replace
    (tmp_path / "source").write_text("x")
    files = open_files(Settings(root=tmp_path), "local:store")
    files.put(tmp_path / "source", "before")  # then the names of the folders are kept
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("fsync"), sync(handle)))
    monkeypatch.setattr(os, "replace", lambda *names: (order.append("rename"), replace(*names)))
    files.put(tmp_path / "source", "key")
    assert order == ["fsync", "rename", "fsync"]
