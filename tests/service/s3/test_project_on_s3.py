"""A project whose store is on S3: registered, deployed and served, with the store there and without it."""

import json
import shutil

import pytest
from server_process import serving, until
from wine_project import ROW, WineProject

from headrace.journey.backup import backup, restore
from headrace.journey.probes import probe_all
from headrace.serving.versions import load_model

pytestmark = pytest.mark.service


@pytest.fixture
def settings(s3):
    return f'store = "{s3.uri()}"\n'


@pytest.fixture
def project(tmp_path, settings):
    (tmp_path / "project").mkdir()
    opened = WineProject(tmp_path / "project", settings)
    yield opened
    opened.close()


def answers(server, project, bias):
    reply = server.client.request("POST", "/v1/models/wine:predict", json.dumps({"instances": [ROW]}).encode())
    return reply.status == 200 and json.loads(reply.body)["predictions"][0] == pytest.approx(project.answer(bias))


def test_a_gateway_goes_on_and_starts_again_without_its_store(project, s3):
    first = project.register(0.5)
    project.deploy(first)
    with serving(project.root) as server:
        assert answers(server, project, 0.5)
    assert not (project.root / ".headrace" / "store").exists()
    second = project.register(1.5)
    for copies in (project.root / ".headrace" / "cache" / "store").glob("*/*/models/*"):
        if copies.name in second.folder:
            shutil.rmtree(copies)  # as on a host that has not loaded it
    s3.kill()
    try:
        with serving(project.root) as server:  # from copies
            assert answers(server, project, 0.5)
            project.deploy(second)
            until(lambda: "the store cannot be reached" in server.reason("wine"))
            assert answers(server, project, 0.5)
            s3.start()
            until(lambda: answers(server, project, 1.5), 60)
    finally:
        if s3.process.poll() is not None:
            s3.start()


def test_what_one_host_registers_another_loads(project, tmp_path, settings):
    version = project.register(0.5)
    (tmp_path / "elsewhere").mkdir()
    other = WineProject(tmp_path / "elsewhere", settings)
    try:
        model = load_model(project.platform.ledger(), other.platform.files(), other.platform.runtime, str(version))
        model.loaded.close()
    finally:
        other.close()


def test_doctor_tries_the_store(project):
    (store,) = [part for part in probe_all(project.platform) if part.name == "files"]
    assert (store.state, store.detail) == ("ok", "put, read and removed 1024 bytes")
    assert project.platform.files().list("") == []


def test_a_laptops_project_moves_there_and_back(project, tmp_path):
    (tmp_path / "laptop").mkdir()
    (tmp_path / "back").mkdir()
    laptop, back = WineProject(tmp_path / "laptop"), WineProject(tmp_path / "back")
    try:
        version = laptop.register(0.5)
        keys = laptop.platform.files().list("")
        backup(laptop.platform.stores(), tmp_path / "there.backup")
        restore(project.platform.stores(), tmp_path / "there.backup")
        assert project.platform.files().list("") == keys
        backup(project.platform.stores(), tmp_path / "back.backup")
        restore(back.platform.stores(), tmp_path / "back.backup")
        assert back.platform.files().list("") == keys
        assert (tmp_path / "back/.headrace/store" / version.folder).is_dir()
    finally:
        laptop.close()
        back.close()
