"""A folder exists once its manifest does, and every bit of it is checked at every load."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.engines.local.files import LocalFiles
from headrace.errors import IntegrityError, NotFound
from headrace.storage import manifest


@pytest.fixture
def files(tmp_path):
    return LocalFiles(tmp_path / "store")


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "made"
    (made / "deep").mkdir(parents=True)
    (made / "model.onnx").write_bytes(bytes(range(64)))
    (made / "deep" / "x.json").write_text("{}")
    return made


def test_store_and_fetch(files, folder):
    stored = manifest.store(files, folder, "a/1", {"rows": 3})
    assert set(stored.files) == {"model.onnx", "deep/x.json"}
    assert manifest.read(files, "a/1") == stored
    fetched = manifest.fetch(files, "a/1", stored.digest)
    assert (fetched / "model.onnx").read_bytes() == bytes(range(64))
    assert (fetched / "deep" / "x.json").read_text() == "{}"


def test_the_manifest_is_last(files, folder):
    order = []
    put = files.put
    files.put = lambda source, key: (order.append(key), put(source, key))
    manifest.store(files, folder, "a/1")
    assert order[-1] == "a/1/manifest.json"
    assert len(order) == 3


def test_without_its_manifest_a_folder_does_not_exist(files, folder):
    manifest.store(files, folder, "a/1")
    files.delete("a/1/manifest.json")
    with pytest.raises(NotFound):
        manifest.fetch(files, "a/1")


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bit=st.integers(0, 64 * 8 - 1))
def test_any_flipped_bit_is_refused(files, folder, bit):
    stored = manifest.store(files, folder, "a/1")
    path = files.get("a/1/model.onnx")
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"a/1/model\.onnx"):
        manifest.fetch(files, "a/1", stored.digest)


def test_a_missing_file_and_a_foreign_manifest_are_refused(files, folder):
    stored = manifest.store(files, folder, "a/1")
    files.delete("a/1/deep/x.json")
    with pytest.raises(IntegrityError, match="missing"):
        manifest.fetch(files, "a/1", stored.digest)
    manifest.store(files, folder, "a/1", {"other": 1})
    with pytest.raises(IntegrityError, match=r"manifest\.json"):
        manifest.fetch(files, "a/1", stored.digest)
    files.get("a/1/manifest.json").write_text("{")
    with pytest.raises(IntegrityError, match="cannot be read"):
        manifest.fetch(files, "a/1")


def test_a_file_laid_beside_the_stored_ones_is_refused(files, folder):
    stored = manifest.store(files, folder, "a/1")
    manifest.store(files, folder, "a/11")  # another folder, though its key begins alike
    (folder / "more.py").write_text("")
    files.put(folder / "more.py", "a/1/deep/more.py")
    with pytest.raises(IntegrityError, match=r"a/1/deep/more\.py"):
        manifest.fetch(files, "a/1", stored.digest)
    manifest.fetch(files, "a/11")
