import shutil

import pytest
from served import Gated
from wine_project import COLUMNS, ROW, WineProject, asking, until

from headrace.errors import Unavailable
from headrace.models.registry import fetch
from headrace.serving.folder_source import FolderSource
from headrace.serving.keeper import Keeper


@pytest.fixture
def project(tmp_path):
    opened = WineProject(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "models/wine").mkdir(parents=True)
    return tmp_path / "models"


@pytest.fixture
def gate(project, folder, tmp_path):
    found = Gated(tmp_path / "stream", ())
    source = FolderSource(folder, runtime=project.platform.runtime, scratch=tmp_path / "scratch", every_s=0.02)
    found.keeper = Keeper(found.plane, [source], post=found.loop.call_soon_threadsafe)
    found.keeper.start()
    yield found
    found.keeper.stop()
    found.close()


def put(project, folder, number, bias, **more):
    version = project.register(bias, **more)
    target = folder / "wine" / str(number)
    shutil.copytree(fetch(project.platform.files(), version), target)
    return target


def winner(gate):
    return gate.client.predict("wine", rows=[ROW]).winner if gate.client.ready() else ""


def test_newer_versions_are_followed_and_removed_ones_unloaded(project, folder, gate, tmp_path):
    put(project, folder, 1, 0.5)
    until(lambda: winner(gate) == "wine@1")
    two = put(project, folder, 2, 1.5)
    until(lambda: winner(gate) == "wine@2")
    until(lambda: gate.keeper.loaded == ["wine@2"])
    shutil.rmtree(two)
    until(lambda: winner(gate) == "wine@1")
    shutil.rmtree(folder / "wine")
    until(lambda: gate.plane.names == () and gate.keeper.loaded == [])
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize("broken", ["truncated", "flipped", "parity", "cold", "linked", "bare"])
def test_a_broken_version_never_displaces_a_good_one_and_is_tried_when_it_changes(project, folder, gate, broken):
    put(project, folder, 1, 0.5)
    until(lambda: winner(gate) == "wine@1")
    bad = put(
        project, folder.parent / "elsewhere", 2, 1.5, claimed=1.0 if broken == "parity" else 0.0, cold=broken == "cold"
    )
    model = bad / "model.onnx"
    model.chmod(0o600)
    content = model.read_bytes()
    if broken == "truncated":
        model.write_bytes(content[: len(content) // 2])
    elif broken == "flipped":
        model.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    elif broken == "linked":
        model.rename(folder.parent / "outside.onnx")
        model.symlink_to(folder.parent / "outside.onnx")
    elif broken == "bare":
        (bad / "signature.json").unlink()
        (bad / "manifest.json").unlink()
    with asking(gate.client) as winners:
        bad.rename(folder / "wine/2")
        until(lambda: gate.plane.status("wine").refused)
        begun = len(winners)
        until(lambda: len(winners) > begun)
    assert set(winners) == {"wine@1"}
    note = gate.plane.status("wine").versions["wine@2"]
    assert note.state == "failed"
    assert gate.plane.status("wine").refused == f"wine@2: {note.why}"
    shutil.rmtree(folder / "wine/2")
    put(project, folder, 2, 2.5)
    until(lambda: winner(gate) == "wine@2")
    assert gate.plane.status("wine").refused == ""


def test_another_signature_waits_until_the_older_folder_is_removed(project, folder, gate):
    put(project, folder, 1, 0.5)
    until(lambda: winner(gate) == "wine@1")
    with asking(gate.client) as winners:
        put(project, folder, 2, 1.5, columns=dict(list(COLUMNS.items())[:2]))
        until(lambda: "callers send 'ph', which it does not take" in gate.plane.status("wine").refused)
    assert set(winners) == {"wine@1"}
    assert gate.plane.status("wine").versions["wine@2"].state == "failed"
    put(project, folder, 3, 2.5)
    until(lambda: winner(gate) == "wine@3")
    shutil.rmtree(folder / "wine/3")
    until(lambda: winner(gate) == "wine@1")
    shutil.rmtree(folder / "wine/1")
    until(lambda: gate.plane.status("wine").models.keys() == {"wine@2"})


def test_a_refusal_is_over_when_what_was_refused_is_gone(project, folder, gate):
    put(project, folder, 1, 0.5)
    until(lambda: winner(gate) == "wine@1")
    put(project, folder, 2, 1.5, claimed=1.0)
    until(lambda: gate.plane.status("wine").refused)
    shutil.rmtree(folder / "wine/2")
    until(lambda: not gate.plane.status("wine").refused)
    assert winner(gate) == "wine@1"


def test_a_served_version_stays_what_was_loaded_until_it_is_loaded_anew(project, folder, gate):
    target = put(project, folder, 1, 0.5)
    until(lambda: winner(gate) == "wine@1")
    other = fetch(project.platform.files(), project.register(1.5))
    with asking(gate.client) as winners:
        for path in target.iterdir():  # in place: the folder never goes
            path.chmod(0o600)
            path.write_bytes((other / path.name).read_bytes())
        until(lambda: "changed since it was loaded" in gate.plane.status("wine").refused)
        with pytest.raises(Unavailable, match="unload it, then load it"):
            gate.keeper.load("wine").result(10)
    assert set(winners) == {"wine@1"}
    assert gate.client.predict("wine", rows=[ROW]).values == pytest.approx([project.answer(0.5)], abs=1e-3)
    gate.keeper.unload("wine").result(10)
    gate.keeper.load("wine").result(10)
    assert gate.client.predict("wine", rows=[ROW]).values == pytest.approx([project.answer(1.5)], abs=1e-3)
    until(lambda: not gate.plane.status("wine").refused)
