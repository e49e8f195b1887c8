"""Exported versions: whole, verified, never written over, and equal when they are imported again."""

import json

import polars as pl
import pytest
from click.testing import CliRunner
from served import onnx_artifact
from wine_project import COLUMNS, WineProject

from headrace.cli import cli
from headrace.errors import IntegrityError, Refused
from headrace.journey.exports import exported, is_export, read_export
from headrace.models.registry import Registration, find, profile_of, register


@pytest.fixture
def project(tmp_path):
    opened = WineProject(tmp_path)
    yield opened
    opened.close()


def test_an_export_holds_what_the_registry_keeps_and_is_made_once(project, tmp_path):
    version = project.register(0.5)
    files = project.platform.files()
    folder = exported(files, version, tmp_path / "out")
    assert folder == tmp_path / "out" / "wine" / "1"
    assert {p.name for p in folder.iterdir()} == {"model.onnx", "signature.json", "examples.json", "manifest.json"}
    assert (folder / "model.onnx").read_bytes() == project.model_file(version).read_bytes()
    before = (folder / "model.onnx").stat().st_mtime_ns
    assert exported(files, version, tmp_path / "out") == folder
    assert (folder / "model.onnx").stat().st_mtime_ns == before
    assert [p.name for p in folder.parent.iterdir()] == ["1"]


def test_other_content_is_not_written_over(project, tmp_path):
    version = project.register(0.5)
    target = tmp_path / "out" / "wine" / "1"
    target.mkdir(parents=True)
    (target / "mine").write_text("x")
    with pytest.raises(Refused, match="holds something else"):
        exported(project.platform.files(), version, tmp_path / "out")
    assert [p.name for p in target.iterdir()] == ["mine"]


def test_a_damaged_version_is_not_exported(project, tmp_path):
    version = project.register(0.5)
    project.model_file(version).write_bytes(b"no model")
    with pytest.raises(IntegrityError):
        exported(project.platform.files(), version, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("1"))


@pytest.mark.parametrize("name", ["model.onnx", "signature.json", "examples.json"])
def test_an_altered_export_is_refused(project, tmp_path, name):
    folder = exported(project.platform.files(), project.register(0.5), tmp_path / "out")
    assert is_export(folder)
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(IntegrityError):
        read_export(folder)


def test_an_export_is_imported_with_an_equal_digest(project, tmp_path, monkeypatch):
    version = project.register(0.5)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["models", "export", "wine@1", "--to", "out", "--json"])
    assert done.exception is None, done.output
    assert json.loads(done.stdout)["digest"] == version.digest
    again = ["models", "import", "out/wine/1", "--name", "again", "--licence", "CC0-1.0"]
    done = CliRunner().invoke(cli, again)
    assert done.exception is None, done.output
    assert find(project.platform.ledger(), "again").digest == version.digest
    refused = CliRunner().invoke(cli, ["models", "import", "out/wine/1/model.onnx", "--name", "x", "--licence", "MIT"])
    assert "--example is missing" in str(refused.exception)


def test_the_training_profile_comes_along(project, tmp_path, monkeypatch):
    platform, counted = project.platform, {"rows": 2, "columns": {"ph": {"edges": [3.1, 3.4]}}}
    asked = Registration("wine", pl.DataFrame(COLUMNS), "CC0-1.0", profile=counted)
    version = register(platform.stores(), onnx_artifact(COLUMNS, [1, 10, 100]), asked)
    exported(platform.files(), version, tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    again = ["models", "import", "out/wine/1", "--name", "again", "--licence", "CC0-1.0"]
    done = CliRunner().invoke(cli, again)
    assert done.exception is None, done.output
    assert profile_of(platform.files(), find(platform.ledger(), "again")) == counted
    (tmp_path / "out/wine/1/profile.json").write_text('{"rows": 3}')
    assert isinstance(CliRunner().invoke(cli, again).exception, IntegrityError)
