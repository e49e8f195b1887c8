"""PyTorch's archives before PyTorch sees them: what is in them, and that their pickles name only what tensors need.

PyTorch gets an archive that was written anew from the entries that were looked at, so that it cannot read another one
than was looked at: zip archives have several ways to say one thing.
"""

import io
import pickletools
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO

from headrace.errors import Refused
from headrace.models.archives import opened

_ROOT = "model"
_GLOBALS = re.compile(
    r"collections OrderedDict|torch device|torch\.storage UntypedStorage|"
    r"torch (Half|BFloat16|Float|Double|Char|Short|Int|Long|Byte|Bool|QInt8|QUInt8|QInt32)Storage|"
    r"torch (bool|u?int(8|16|32|64)|b?float16|float(32|64))|"
    r"torch\._utils _rebuild_(tensor_v2|tensor_v3|parameter|qtensor)|"
    r"torch\.jit\._pickle (build_(int|double|bool|tensor)list|build_tensor_from_id|restore_type_tag)|"
    r"__torch__\.torch\.classes\.(quantized|rnn) \w+|"
    r"__torch__(?!\.torch\.classes)(\.\w+)* \w+"
)
"""What a pickle of tensors and of script objects names; nothing here does more than put tensors together."""

_OPCODES = frozenset(
    {
        *("PROTO", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        *("BINUNICODE", "SHORT_BINSTRING", "BINSTRING", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
        *("EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET", "APPEND", "APPENDS", "SETITEM", "SETITEMS"),
        *("BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "BINPERSID", "GLOBAL", "NEWOBJ", "REDUCE", "BUILD"),
    }
)
"""What PyTorch writes. Opcodes that find what they call among computed values are not in it."""


class Archive:
    """An opened archive of PyTorch's, whose entries all lie below one folder.

    Args:
        zipped: As ``opened`` gives it.

    Raises:
        Refused: Its entries lie elsewhere, or a pickle in it names what is not allowed.
    """

    def __init__(self, zipped: zipfile.ZipFile) -> None:
        self._zipped = zipped
        roots = {entry.filename.partition("/")[0] for entry in zipped.infolist()}
        if len(roots) != 1:
            raise Refused("the archive is not PyTorch's", why=f"{len(roots)} folders, one is due")
        self._entries = {entry.filename.partition("/")[2]: entry for entry in zipped.infolist()}
        self.names = tuple(self._entries)
        for name in self.names:
            if name.endswith("pkl"):
                check_pickle(self.read(name), name)

    def read(self, name: str) -> bytes:
        """The content of an entry; nothing when there is none."""
        entry = self._entries.get(name)
        return b"" if entry is None else self._zipped.read(entry)

    @contextmanager
    def rewritten(self, kept: Iterable[str], replaced: Mapping[str, bytes]) -> Iterator[IO[bytes]]:
        """A new archive in a file without a name: the entries ``kept`` as they are, and those of ``replaced``."""
        with tempfile.TemporaryFile() as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as made:
                for name, content in replaced.items():
                    made.writestr(f"{_ROOT}/{name}", content)
                for name in kept:
                    entry = zipfile.ZipInfo(f"{_ROOT}/{name}")
                    entry.file_size = self._entries[name].file_size
                    with self._zipped.open(self._entries[name]) as source, made.open(entry, "w") as target:
                        shutil.copyfileobj(source, target, 1 << 20)
            file.seek(0)
            yield file


def check_pickle(content: bytes, where: str) -> None:
    """Read a pickle opcode by opcode, without running it.

    Raises:
        Refused: It names what tensors do not need, has opcodes that PyTorch does not write, or is no pickle.
    """
    try:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name not in _OPCODES:
                raise Refused("a pickle in the archive is not of tensors", where=where, why=f"opcode {opcode.name}")
            if opcode.name == "GLOBAL" and not _GLOBALS.fullmatch(str(argument)):
                why = f"it names {str(argument).replace(' ', '.')}"
                raise Refused("a pickle in the archive would run code", where=where, why=why)
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise Refused("a pickle in the archive cannot be read", where=where, why=str(error)) from error


def check_tensors(content: bytes) -> None:
    """Check what ``torch.save`` wrote: an archive within the archive, with one pickle.

    Raises:
        Refused: As ``Archive`` does.
    """
    if content:
        with opened(io.BytesIO(content)) as zipped:
            Archive(zipped)
