"""Model files made to do harm, through every door: import, registry, watched folder."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import hostile
import pytest
from click.testing import CliRunner
from served import Gated, onnx_linear
from wine_project import WineProject, asking, until

from headrace.assembly import open_platform
from headrace.cli import cli
from headrace.engines.onnxruntime.runtime import OnnxRuntime
from headrace.errors import HeadraceError, IntegrityError
from headrace.models.registry import fetch
from headrace.serving.folder_source import FolderSource
from headrace.serving.keeper import Keeper
from headrace.serving.scratch import Scratch
from headrace.serving.versions import load_model
from headrace.serving.worker_process import Limits
from headrace.settings import Settings

SIGNATURE = {
    "kind": "table",
    "inputs": [{"name": name, "dtype": "float64", "nullable": False} for name in ("a", "b")],
    "outputs": [{"name": "quality", "dtype": "float32", "nullable": False}],
}
EXAMPLE = {"columns": {"a": [1.0], "b": [2.0]}, "outputs": {"quality": [3.0]}}


@pytest.fixture
def canary(tmp_path):
    """A file outside the project that nothing may write."""
    found = tmp_path / "canary"
    yield found
    assert not found.exists(), "a model file ran code"
    assert not (tmp_path / "escaped").exists()
    assert not Path(hostile.ESCAPED).exists()


@pytest.fixture
def importing(tmp_path, monkeypatch):
    """Imports a file or folder; gives the error that it met."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "headrace.toml").touch()
    monkeypatch.chdir(root)

    def call(path):
        asked = ["--name", "m", "--licence", "MIT", "--signature", json.dumps(SIGNATURE)]
        done = CliRunner().invoke(cli, ["models", "import", str(path), *asked, "--example", json.dumps(EXAMPLE)])
        assert isinstance(done.exception, HeadraceError), (done.exception, done.output)
        platform = open_platform(Settings(root=root))
        assert platform.ledger().query("*") == []
        assert platform.files().list("") == []
        platform.close()
        return done.exception

    return call


def written(where, content):
    """The file or folder ``content`` at ``where``."""
    if isinstance(content, bytes):
        where.write_bytes(content)
    else:
        for name, text in content.items():
            (where / name).parent.mkdir(parents=True, exist_ok=True)
            (where / name).write_bytes(text)
    return where


def test_the_canary_of_these_files_sings_when_they_are_loaded(tmp_path):
    """Otherwise the tests below would show nothing."""
    kinds = [kind for kind in hostile.PICKLES if kind.startswith(("pickle", "joblib"))]
    for number, kind in enumerate(kinds):
        (tmp_path / f"{number}.pkl").write_bytes(hostile.PICKLES[kind](tmp_path / f"{number}.sung"))
    program = "import joblib, pathlib, sys; [joblib.load(path) for path in pathlib.Path(sys.argv[1]).glob('*.pkl')]"
    subprocess.run([sys.executable, "-c", program, tmp_path], check=True)
    assert len(list(tmp_path.glob("*.sung"))) == len(kinds)


@pytest.mark.parametrize("kind", hostile.PICKLES)
def test_what_runs_code_is_not_imported(importing, canary, tmp_path, kind):
    error = importing(written(tmp_path / "model.onnx", hostile.PICKLES[kind](canary)))
    assert error.where == str(tmp_path / "model.onnx")
    assert error.fix


def test_a_keras_file_runs_nothing_whether_keras_is_there_or_not(importing, canary, tmp_path):
    assert str(importing(written(tmp_path / "model.keras", hostile.keras(canary))))


def test_a_folder_of_mlflow_is_not_imported_unless_it_is_trusted(importing, canary, tmp_path):
    files = hostile.mlflow(canary)
    assert "--trust pickle" in importing(written(tmp_path / "saved", files)).fix
    assert "--trust pickle" in importing(written(tmp_path / "more", files | {"trusted.json": b'["pickle"]'})).fix


@pytest.mark.parametrize("kind", hostile.ARCHIVES)
def test_archives_that_escape_or_multiply_are_not_imported(importing, canary, tmp_path, kind):
    error = importing(written(tmp_path / "model.skops", hostile.ARCHIVES[kind]()))
    assert error.where == str(tmp_path / "model.skops")
    assert error.fix


@pytest.mark.parametrize("kind", hostile.INSIDE)
def test_files_that_harm_their_reader_harm_a_worker(importing, canary, tmp_path, kind):
    error = importing(written(tmp_path / "model", hostile.INSIDE[kind]()))
    assert hostile.SAID[kind] in str(error)


def test_links_devices_and_pipes_are_not_imported(importing, tmp_path):
    secret = written(tmp_path / "secret.onnx", onnx_linear([1, 2]))
    (tmp_path / "link").symlink_to(secret)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/saved_model.pb").symlink_to(secret)
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "folder"):
        assert "link" in str(importing(tmp_path / name))
    assert "plain files" in str(importing(tmp_path / "pipe"))
    assert "plain files" in str(importing(Path("/dev/zero")))


@pytest.fixture
def project(tmp_path):
    (tmp_path / "wine").mkdir()
    opened = WineProject(tmp_path / "wine")
    yield opened
    opened.close()


def test_a_stored_file_that_was_replaced_is_not_loaded(project, canary):
    version = project.register(0.5)
    stored = project.model_file(version)
    stored.chmod(0o600)
    good = stored.read_bytes()
    made = [make(canary) for make in hostile.PICKLES.values()]
    made += [hostile.INSIDE[kind]() for kind in hostile.INSIDE] + [onnx_linear([1, 10, 100], 0.75), b""]
    for content in made:
        stored.write_bytes(content)
        with pytest.raises(IntegrityError, match=r"not the one that was written - .*model\.onnx - SHA-256"):
            _load(project, version)
    stored.write_bytes(good)
    assert _load(project, version).compared == 2


def test_what_is_laid_beside_a_stored_model_is_not_loaded(project, canary):
    version = project.register(0.5)
    stored = project.model_file(version).parent
    stored.chmod(0o700)
    for name, content in {"trusted.json": b'["pickle"]', "model.skops": b"PK\3\4", **hostile.mlflow(canary)}.items():
        (stored / name).write_bytes(content)
        with pytest.raises(IntegrityError, match=f"was not stored - .*{name} - fix: delete it"):
            _load(project, version)
        (stored / name).unlink()
    _load(project, version)


def test_a_stored_manifest_that_was_written_anew_is_not_believed(project, canary):
    version = project.register(0.5)
    stored = project.model_file(version).parent
    evil = json.loads((stored / "manifest.json").read_bytes())
    evil["files"]["trusted.json"] = "0" * 64
    (stored / "manifest.json").chmod(0o600)
    (stored / "manifest.json").write_text(json.dumps(evil))
    with pytest.raises(IntegrityError, match=r"not the one that was written - .*manifest\.json"):
        _load(project, version)


def _load(project, version):
    platform = project.platform
    return load_model(platform.ledger(), platform.files(), platform.runtime, str(version))


def _dropped(canary):
    """One folder's files for each hostile file, by its kind."""
    made = {kind: {"model.onnx": make(canary)} for kind, make in hostile.PICKLES.items()}
    made |= {kind: {"model.skops": make()} for kind, make in hostile.ARCHIVES.items()}
    made |= {kind: {"model": make()} for kind, make in hostile.INSIDE.items() if kind.startswith("onnx")}
    made |= {"endless": {"model.onnx": hostile.endless()}, "mlflow": hostile.mlflow(canary)}
    made |= {"lambda": {"model.keras": hostile.keras(canary)}}
    return made | {"trusted": hostile.mlflow(canary) | {"trusted.json": b'["pickle"]'}}


def test_a_watched_folder_serves_none_of_them_while_the_version_before_goes_on(project, canary, tmp_path):
    """All at once beside a good version; each refused with its reason, which the status shows."""
    good = fetch(project.platform.files(), project.register(0.5))
    about = {name: (good / name).read_bytes() for name in ("signature.json", "examples.json")}
    folder, made = tmp_path / "models", _dropped(canary)
    shutil.copytree(good, folder / "wine/1")
    (folder / "models.toml").write_text("poll_s = 0.05")
    onnx = OnnxRuntime(Limits(memory_bytes=1 << 30, call_s=1.0))
    runtimes = lambda format_: onnx if format_ == "onnx" else project.platform.runtime(format_)  # noqa: E731
    gate = Gated(tmp_path / "stream", ())
    source = FolderSource(folder, runtime=runtimes, scratch=Scratch(tmp_path / "scratch"), moved=lambda *_: None)
    keeper = Keeper(gate.plane, [source], post=gate.loop.call_soon_threadsafe)
    keeper.start()
    try:
        until(lambda: gate.client.ready() and gate.plane.status("wine").models.keys() == {"wine@1"})
        with asking(gate.client) as winners:
            for number, files in enumerate(made.values(), 2):
                written(folder / "wine" / str(number), files | about)
            due = {f"wine@{number}" for number in range(2, len(made) + 2)}
            until(
                lambda: {v for v, note in gate.plane.status("wine").versions.items() if note.state == "failed"} >= due,
                60,
            )
        notes = gate.plane.status("wine").versions
    finally:
        keeper.stop()
        gate.close()
    assert set(winners) == {"wine@1"}
    why = {kind: notes[f"wine@{number}"].why for number, kind in enumerate(made, 2)}
    assert all(why.values()), why
    assert "has two entries in one place" in why["overlapping"]
    assert "Failed to allocate memory" in why["onnx, filling memory"]
    assert "runs code when it is loaded" in why["trusted"]
    assert "did not answer in time" in why["endless"]


def test_no_bomb_takes_memory_from_whoever_looks_at_it(tmp_path):
    """In a process of its own: what it needs at most, over what it needed before it looked."""
    for kind, make in (hostile.ARCHIVES | hostile.INSIDE).items():
        (tmp_path / kind).write_bytes(make())
    most = max(path.stat().st_size for path in tmp_path.iterdir())
    program = (
        "import resource, sys; from pathlib import Path; from headrace.models.formats import recognised\n"
        "from headrace.errors import HeadraceError\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "for path in Path(sys.argv[1]).iterdir():\n"
        "    try: recognised(path)\n"
        "    except HeadraceError: pass\n"
        "print((peak() - before) >> 10)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 96 + 3 * (most >> 20)
