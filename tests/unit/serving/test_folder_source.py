import errno
import json
import os
import shutil
from functools import partial

import numpy as np
import pytest
import xgboost
from served import Gated
from tensor_served import onnx_double
from wine_project import COLUMNS, ROW, asking, until

from headrace.errors import Unavailable
from headrace.models.registry import fetch
from headrace.models.signature import Column, Signature
from headrace.serving import folder_source
from headrace.serving.endpoint import Preference
from headrace.serving.folder_source import FolderSource
from headrace.serving.keeper import Keeper
from headrace.serving.model_folder import contents
from headrace.serving.scratch import Scratch


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "models/wine").mkdir(parents=True)
    (tmp_path / "models/models.toml").write_text("poll_s = 0.02")
    return tmp_path / "models"


@pytest.fixture
def gate(project, folder, tmp_path):
    found = Gated(tmp_path / "stream", ())
    post = found.loop.call_soon_threadsafe

    def moved(*move):
        post(found.plane.move, *move)

    scratch, warned = Scratch(tmp_path / "scratch"), partial(setattr, found.plane, "warnings")
    source = FolderSource(folder, runtime=project.platform.runtime, scratch=scratch, moved=moved, warned=warned)
    found.keeper = Keeper(found.plane, [source], post=post)
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
    assert [path.name for path in (tmp_path / "scratch").rglob("*") if path.is_file()] == [".lock", ".lock"]


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


def bare(folder, name, content, number="1"):
    """A version as other servers have it: the model's file alone; written elsewhere, then moved there whole."""
    half = folder.parent / "half"
    half.mkdir()
    (half / "model").write_bytes(content)
    (folder / name).mkdir(exist_ok=True)
    return half.rename(folder / name / number)


def doubled(gate, x, **asked):
    return gate.client.infer("double", {"x": x}, **asked)[1]["y"].tolist()


def test_a_bare_onnx_file_is_served_with_what_it_declares(folder, gate):
    bare(folder, "double", onnx_double(), "00000123")
    until(lambda: "double" in gate.plane.names and gate.client.ready())
    x = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    assert doubled(gate, x, version=123) == (2 * x).tolist()
    bare(folder, "double", onnx_double(shape=(None, 5)), "124")
    until(lambda: "callers send 'x' as float32[-1, 2, 3]" in gate.plane.status("double").refused)
    bare(folder, "double", onnx_double(), "125")
    until(lambda: gate.plane.status("double").models.keys() == {"double@125"})
    assert doubled(gate, x) == (2 * x).tolist()


def test_a_bare_file_that_does_not_say_what_it_takes_waits_for_its_signature(folder, gate, tmp_path):
    rows = np.array([[1.0, 2.0], [3.0, 5.0], [4.0, 1.0], [2.0, 2.0]], np.float32)
    booster = xgboost.train({"max_depth": 2}, xgboost.DMatrix(rows, rows[:, 0], feature_names=["a", "b"]), 3)
    booster.save_model(tmp_path / "booster.ubj")
    where = bare(folder, "boosted", (tmp_path / "booster.ubj").read_bytes())
    until(lambda: "boosted" in gate.plane.names and gate.plane.status("boosted").refused)
    assert (
        "put signature.json beside it, or register it: headrace models import" in gate.plane.status("boosted").refused
    )
    table = Signature("table", (Column("a", "float64"), Column("b", "float64")), (Column("score", "float32"),))
    (where / "signature.json").write_text(json.dumps(table.to_json()))
    until(gate.client.ready)
    due = booster.predict(xgboost.DMatrix(rows[:1], feature_names=["a", "b"]))[0]
    assert gate.client.predict("boosted", rows=[{"a": 1.0, "b": 2.0}]).values == pytest.approx([due])


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"model.pkl": b"\x80\x04."}, "runs code when it is loaded"),
        ({"a.onnx": onnx_double(), "b.onnx": onnx_double()}, "it holds a.onnx, b.onnx"),
        ({"signature.json": b"{}"}, "a version without a model"),
        ({"saved_model.pb": b"nonsense"}, "no SavedModel"),
        # The word beside it trusts nothing: whoever may copy files here could say it.
        ({"MLmodel": b"flavors:", "model.pkl": b"\x80\x04.", "trusted.json": b'["pickle"]'}, "mlflow runs code when"),
    ],
)
def test_what_is_no_model_is_refused_with_what_it_is(folder, gate, files, why):
    where = folder / "odd/1"
    where.mkdir(parents=True)
    for name, content in files.items():
        (where / name).write_bytes(content)
    until(lambda: "odd" in gate.plane.names and why in gate.plane.status("odd").refused)
    reply = gate.client.request("GET", "/v1/models/odd/versions/1")
    (row,) = json.loads(reply.body)["model_version_status"]
    assert (row["state"], why in row["status"]["error_message"]) == ("END", True)


def test_a_folder_with_a_name_that_no_model_has_harms_no_other(folder, gate):
    for name in (".hidden", "two words"):
        (folder / name / "1").mkdir(parents=True)
    bare(folder, "double", onnx_double())
    until(lambda: gate.plane.names == ("double",) and gate.client.ready())


def test_the_files_of_a_saved_model_are_one_model_wherever_they_lie(tmp_path):
    graph, variables = b"\x08\x01\x12\x00", b"weights"
    for version, top in (("1", ""), ("2", "model.savedmodel/"), ("3", "model.tensorflow/")):
        for name, content in (("saved_model.pb", graph), ("variables/variables.index", variables)):
            path = tmp_path / version / f"{top}{name}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    found = [contents(tmp_path / version) for version in "123"]
    files = {"model.tensorflow/saved_model.pb": graph, "model.tensorflow/variables/variables.index": variables}
    assert found == [("tensorflow", files, None)] * 3
    for version, top in (("4", ""), ("5", "model.savedmodel/")):  # one without variables is its graph alone
        path = tmp_path / version / f"{top}saved_model.pb"
        path.parent.mkdir(parents=True)
        path.write_bytes(graph)
        assert contents(tmp_path / version) == ("tensorflow", {"model.tensorflow/saved_model.pb": graph}, None)


def say(folder, text):
    (folder / "models.toml").write_text(f"poll_s = 0.02\n{text}")


def loaded(gate):
    """Numbers of the wine versions that answer when asked for by number, the one that answers unasked first."""
    if "wine" not in gate.plane.names:
        return []
    return [number for number, note in gate.plane.status("wine").own.items() if note.state == "available"]


def label(gate, name):
    reply = gate.client.request("GET", f"/v1/models/wine/labels/{name}")
    return json.loads(reply.body)["model_version_status"][0]["version"] if reply.status == 200 else reply.status


def test_which_versions_are_loaded_is_said_in_a_file(project, folder, gate):
    for number in range(1, 5):
        put(project, folder, number, float(number))
    until(lambda: loaded(gate) == [4])
    loads, load = [], project.platform.runtime("onnx").load
    project.platform.runtime("onnx").load = lambda *given: loads.append(given) or load(*given)
    with asking(gate.client) as winners:
        say(folder, "[model.wine]\nversions = 2")
        until(lambda: loaded(gate) == [4, 3])
        say(folder, '[model.wine]\nversions = "all"')
        until(lambda: loaded(gate) == [4, 3, 2, 1])
        until(lambda: "wine@4" in winners)
    assert len(loads) == 3  # what was loaded already stayed
    assert set(winners) == {"wine@4"}
    assert gate.client.predict("wine", rows=[ROW], version=2).winner == "wine@2"
    say(folder, "[model.wine]\nversions = [1, 3, 7]")
    until(lambda: loaded(gate) == [3, 1])
    until(lambda: gate.plane.status("wine").refused == "wine@7: its folder is not there, or not whole yet")
    assert winner(gate) == "wine@3"
    (folder / "models.toml").unlink()
    until(lambda: loaded(gate) == [4])
    until(lambda: gate.keeper.loaded == ["wine@4"])


def test_a_named_version_that_is_broken_gives_way_to_the_one_that_was_unloaded_for_it(project, folder, gate):
    policy = 'policy = "resource-preserving"'
    say(folder, f"[model.wine]\nversions = [1]\n{policy}")
    put(project, folder, 1, 0.5)
    put(project, folder, 2, 1.5, claimed=1.0)
    until(lambda: winner(gate) == "wine@1")
    say(folder, f"[model.wine]\nversions = [2]\n{policy}")
    until(lambda: gate.plane.status("wine").refused.startswith("wine@2: "))
    until(lambda: loaded(gate) == [1])
    assert gate.client.predict("wine", rows=[ROW]).winner == "wine@1"
    shutil.rmtree(folder / "wine/1")
    until(lambda: gate.keeper.loaded == [])


@pytest.mark.parametrize("named", [2, 7])
def test_a_named_version_that_is_broken_or_not_there_never_displaces_the_one_that_serves(project, folder, gate, named):
    say(folder, "[model.wine]\nversions = [1]")
    put(project, folder, 1, 0.5)
    put(project, folder, 2, 1.5, claimed=1.0)
    until(lambda: winner(gate) == "wine@1")
    with asking(gate.client) as winners:
        say(folder, f"[model.wine]\nversions = [{named}]")
        until(lambda: gate.plane.status("wine").refused.startswith(f"wine@{named}: "))
        begun = len(winners)
        until(lambda: len(winners) > begun)
    assert set(winners) == {"wine@1"}
    assert loaded(gate) == [1]
    shutil.rmtree(folder / "wine/1")
    until(lambda: gate.keeper.loaded == [])


def test_a_broken_model_beside_good_ones_is_a_start_that_is_not_ready(project, folder, gate):
    put(project, folder, 1, 0.5)
    bare(folder, "broken", b"no model")
    until(lambda: [one.state for one in gate.client.overview().endpoints] == ["failed", "serving"])
    assert not gate.client.ready()
    assert gate.client.predict("wine", rows=[ROW]).winner == "wine@1"
    shutil.rmtree(folder / "broken")
    until(gate.client.ready)


def state_of(gate, name):
    return {one.name: one.state for one in gate.client.overview().endpoints}.get(name, "")


def test_a_broken_model_that_comes_later_takes_nothing_from_those_that_serve(project, folder, gate):
    put(project, folder, 1, 0.5)
    until(lambda: gate.plane.readiness.begun)
    bare(folder, "broken", b"no model")
    until(lambda: state_of(gate, "broken") == "failed")
    assert gate.client.ready()
    bare(folder, "double", onnx_double())
    until(lambda: state_of(gate, "double") == "serving")
    gate.loop.call_soon_threadsafe(gate.plane.withdraw, "double")  # one that served and cannot now
    until(lambda: not gate.client.ready())


def test_settings_of_a_model_that_is_not_there_are_told_once(project, folder, gate, capsys):
    put(project, folder, 1, 0.5)
    say(folder, "[model.vine]\nversions = 2\n[model.wine]\nversions = 2")
    until(lambda: loaded(gate) == [1])
    put(project, folder, 2, 1.5)
    until(lambda: loaded(gate) == [2, 1])
    lines = [line for line in capsys.readouterr().err.splitlines() if "[model." in line]
    what = f"[model.vine] of models.toml is of no model - {folder} has wine"
    warning = f"{what} - fix: put it at {folder}/vine/1, or name one that is there"
    assert lines == [f"serving: {warning}"]
    assert gate.plane.names == ("wine",)
    assert gate.client.overview().warnings == [warning]
    assert gate.client.ready()
    say(folder, "[model.wine]\nversions = 2")
    until(lambda: gate.client.overview().warnings == [])


def test_a_broken_version_among_several_costs_the_others_nothing(project, folder, gate):
    say(folder, "[model.wine]\nversions = 2")
    for number, claimed in ((1, 0.0), (2, 1.0), (3, 0.0)):
        put(project, folder, number, float(number), claimed=claimed)
    until(lambda: loaded(gate) == [3, 1])
    status = gate.plane.status("wine")
    assert (status.versions["wine@2"].state, status.refused) == ("failed", "")


def test_an_older_version_with_another_signature_is_served_when_it_is_named(project, folder, gate):
    put(project, folder, 1, 0.5, columns=dict(list(COLUMNS.items())[:2]))
    put(project, folder, 2, 1.5)
    until(lambda: loaded(gate) == [1])  # it was first, and callers of it cannot use the other
    say(folder, "[model.wine]\nversions = [2]")
    until(lambda: loaded(gate) == [2])


def test_labels_move_once_their_version_is_loaded(project, folder, gate):
    put(project, folder, 1, 0.5)
    say(folder, "[model.wine]\nlabels = { stable = 1, canary = 2 }")
    until(lambda: label(gate, "stable") == "1")
    assert label(gate, "canary") == 400
    put(project, folder, 2, 1.5)
    until(lambda: label(gate, "canary") == "2")
    assert label(gate, "stable") == 400  # no other version is loaded
    say(folder, "[model.wine]\nversions = 2\nlabels = { stable = 1 }")
    until(lambda: (label(gate, "stable"), label(gate, "canary")) == ("1", 400))


def test_what_else_is_said_of_a_model_is_its_endpoints(project, folder, gate):
    say(folder, '[model.wine]\ndeadline_ms = 700\nmax_batch_rows = 8\nlog = "off"\ndefault = { quality = 5.0 }')
    put(project, folder, 1, 0.5)
    until(gate.client.ready)
    endpoint = gate.plane.live("wine").deployment.endpoint
    assert (endpoint.deadline_s, endpoint.batching.max_batch_rows, endpoint.log) == (0.7, 8, "off")
    assert endpoint.schedule == (Preference("wine@1", 0.7),)
    assert endpoint.default == {"quality": 5.0}


def test_while_the_file_is_wrong_what_it_said_before_holds_and_status_says_so(project, folder, gate):
    say(folder, "[model.wine]\nversions = 2")
    for number in (1, 2):
        put(project, folder, number, float(number))
    until(lambda: loaded(gate) == [2, 1])
    say(folder, "[model.wine]\nversion = 1")
    until(lambda: "unknown setting 'version'" in gate.plane.status("wine").refused)
    assert loaded(gate) == [2, 1]
    say(folder, "[model.wine]\nversions = 1")
    until(lambda: loaded(gate) == [2] and not gate.plane.status("wine").refused)


def test_a_folder_that_goes_as_a_whole_unloads_nothing(project, folder, gate, capfd):
    put(project, folder, 1, 0.5)
    until(lambda: winner(gate) == "wine@1")
    away = folder.rename(folder.parent / "away")
    said = []
    with asking(gate.client) as winners:
        until(lambda: said.append(capfd.readouterr().err) or "the model folder is not there any more" in "".join(said))
        begun = len(winners)
        until(lambda: len(winners) > begun + 50)
        away.rename(folder)
        put(project, folder, 2, 1.5)
        until(lambda: winner(gate) == "wine@2")
    assert set(winners) <= {"wine@1", "wine@2"}
    said.append(capfd.readouterr().err)
    assert "".join(said).count("is not there any more") == 1


@pytest.mark.parametrize("fails", ["", "wine"])
def test_a_disk_that_fails_unloads_nothing(project, folder, gate, capfd, monkeypatch, fails):
    put(project, folder, 1, 0.5)
    until(lambda: winner(gate) == "wine@1")
    scan = os.scandir

    def broken(where):
        if not isinstance(where, int) and os.fspath(where) == str(folder / fails):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(where))
        return scan(where)

    monkeypatch.setattr(os, "scandir", broken)
    said = []
    until(lambda: said.append(capfd.readouterr().err) or "Input/output error" in "".join(said))
    assert winner(gate) == "wine@1"
    put(project, folder, 2, 1.5)
    monkeypatch.undo()
    until(lambda: winner(gate) == "wine@2")


def test_what_a_version_declares_is_read_once_and_kept_over_restarts(project, folder, tmp_path, monkeypatch):
    bare(folder, "double", onnx_double())
    reads, read = [], folder_source.declared
    monkeypatch.setattr(folder_source, "declared", lambda *given: reads.append(given) or read(*given))

    def started():
        scratch = Scratch(tmp_path / "scratch")
        source = FolderSource(folder, runtime=project.platform.runtime, scratch=scratch, moved=lambda *_: None)
        for _ in range(2):
            source.poll()
        assert source.aspired("double").wanted.keys() == {"double@1"}
        scratch.close()
        return len(reads)

    assert [started(), started()] == [1, 1]
    (kept,) = (tmp_path / "scratch").glob("*.json")
    kept.write_text("half of someth")
    assert [started(), started()] == [2, 2]
    (folder / "double/1/model").write_bytes(onnx_double(shape=(None, 5)))
    assert started() == 3
