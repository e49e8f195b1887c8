"""What every Files engine must do. Subclass ``FilesSuite`` and give it a ``files`` fixture."""

import threading
from pathlib import Path

import pytest

from headrace.errors import NameRefused, NotFound
from headrace.storage.files import Files

_ESCAPES = ["../outside", "a/../../outside", "/etc/passwd", "a\\b", "a\0b", "a/../b"]


class FilesSuite:
    """The cases. Each engine's test subclasses this with a fixture ``files`` that opens an empty store."""

    @pytest.fixture
    def files(self) -> Files:
        """The engine under test."""
        raise NotImplementedError

    def put(self, files: Files, folder: Path, key: str, content: bytes = b"content") -> None:
        """Put ``content`` under ``key``."""
        source = folder / "source"
        source.write_bytes(content)
        files.put(source, key)

    def test_put_and_get(self, files: Files, tmp_path: Path) -> None:
        """An object comes back byte for byte, and the source may go."""
        content = bytes(range(256)) * 5000
        self.put(files, tmp_path, "artifacts/ab/abc/data.bin", content)
        (tmp_path / "source").unlink()
        assert files.get("artifacts/ab/abc/data.bin").read_bytes() == content

    def test_empty_object(self, files: Files, tmp_path: Path) -> None:
        """No bytes are an object too."""
        self.put(files, tmp_path, "empty", b"")
        assert files.get("empty").read_bytes() == b""

    def test_objects_of_one_prefix_lie_in_one_folder(self, files: Files, tmp_path: Path) -> None:
        """What ``get`` gives keeps the last parts of the key, so a folder of objects can be loaded as a folder."""
        self.put(files, tmp_path, "m/1/model.onnx")
        self.put(files, tmp_path, "m/1/parts/a.bin")
        assert files.get("m/1/model.onnx").name == "model.onnx"
        assert files.get("m/1/parts/a.bin").parent.parent == files.get("m/1/model.onnx").parent

    def test_missing_object(self, files: Files, tmp_path: Path) -> None:
        """No object, and a mere prefix of one, is not found."""
        self.put(files, tmp_path, "a/b")
        for key in ("nothing", "a"):
            with pytest.raises(NotFound):
                files.get(key)

    def test_put_again(self, files: Files, tmp_path: Path) -> None:
        """The same key may be put again: the object is the last one, whole."""
        self.put(files, tmp_path, "key", b"first, and longer")
        self.put(files, tmp_path, "key", b"second")
        assert files.get("key").read_bytes() == b"second"

    def test_list(self, files: Files, tmp_path: Path) -> None:
        """Keys that begin with a text, sorted; the text need not end at a slash."""
        for key in ("b/2", "a/1", "a/10", "a/2/x", "c"):
            self.put(files, tmp_path, key)
        assert files.list("") == ["a/1", "a/10", "a/2/x", "b/2", "c"]
        assert files.list("a/") == ["a/1", "a/10", "a/2/x"]
        assert files.list("a/1") == ["a/1", "a/10"]
        assert files.list("nothing/") == []

    def test_delete(self, files: Files, tmp_path: Path) -> None:
        """A deleted object is gone, its neighbours stay, and deleting nothing is no error."""
        self.put(files, tmp_path, "a/1")
        self.put(files, tmp_path, "a/2")
        files.delete("a/1")
        files.delete("a/1")
        files.delete("never/was")
        assert files.list("") == ["a/2"]
        with pytest.raises(NotFound):
            files.get("a/1")

    @pytest.mark.parametrize("key", _ESCAPES)
    def test_keys_stay_inside(self, files: Files, tmp_path: Path, key: str) -> None:
        """A key that would leave the store is refused by every verb."""
        with pytest.raises(NameRefused):
            self.put(files, tmp_path, key)
        with pytest.raises(NameRefused):
            files.get(key)
        with pytest.raises(NameRefused):
            files.delete(key)

    def test_a_failed_put_leaves_nothing(self, files: Files, tmp_path: Path) -> None:
        """When the source cannot be read there is no object, no half of one, and an older one stays."""
        self.put(files, tmp_path, "key", b"old")
        for key in ("key", "new"):
            with pytest.raises(OSError, match="missing"):
                files.put(tmp_path / "missing", key)
        assert files.list("") == ["key"]
        assert files.get("key").read_bytes() == b"old"

    def test_readers_never_see_half_an_object(self, files: Files, tmp_path: Path) -> None:
        """While a key is put again and again, every read is one whole object."""
        contents = {letter * 200_000 for letter in (b"a", b"b")}
        for letter in (b"a", b"b"):
            (tmp_path / letter.decode()).write_bytes(letter * 200_000)
        files.put(tmp_path / "a", "key")
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                for name in "ab":
                    files.put(tmp_path / name, "key")

        writer = threading.Thread(target=write)
        writer.start()
        try:
            seen = {files.get("key").read_bytes() for _ in range(50)}
        finally:
            stop.set()
            writer.join()
        assert seen <= contents
