"""Runs a program and writes down, in order, what it and its children did to the files of a folder, and what they sent.

    python recorder.py FOLDER EVENTS COMMAND ...

Each event is a tuple, appended to the file EVENTS with pickle (``read`` gives them back): what changes a file is written
when it is done, a sync when it begins and when it is done, and what goes to a socket before it goes. Linux only: the
program is traced (ptrace), and a seccomp filter stops it at these calls alone, so that it is hardly slower otherwise.
"""

import contextlib
import ctypes
import os
import pickle
import platform
import signal
import struct
import sys
from pathlib import Path

_CALLS = {
    "x86_64": {
        "open": 2, "write": 1, "writev": 20, "pwrite64": 18, "pwritev": 296, "pwritev2": 328, "fsync": 74,
        "fdatasync": 75, "ftruncate": 77, "fallocate": 285, "mkdir": 83, "mkdirat": 258,
        "unlink": 87, "unlinkat": 263, "rmdir": 84, "rename": 82, "renameat": 264, "renameat2": 316, "link": 86,
        "linkat": 265, "sendto": 44, "sendmsg": 46, "openat": 257, "copy_file_range": 326, "mmap": 9,
    },
    "aarch64": {
        "write": 64, "writev": 66, "pwrite64": 68, "pwritev": 70, "pwritev2": 287, "fsync": 82, "fdatasync": 83,
        "ftruncate": 46, "fallocate": 47, "mkdirat": 34, "unlinkat": 35, "renameat": 38,
        "renameat2": 276, "linkat": 37, "sendto": 206, "sendmsg": 211, "openat": 56,
        "copy_file_range": 285, "mmap": 222,
    },
}  # fmt: skip
_NAMES = {number: name for name, number in _CALLS.get(platform.machine(), {}).items()}
_TRACEME, _CONT, _SYSCALL, _SETOPTIONS, _GET_SYSCALL_INFO = 0, 7, 24, 0x4200, 0x420E
_OPTIONS = (
    0x01 | 0x02 | 0x04 | 0x08 | 0x10 | 0x80 | 0x100000
)  # tell calls, follow forks and threads, seccomp, exit kill
_SECCOMP_STOP, _TRAP = 7, signal.SIGTRAP
_NO_NEW_PRIVS, _SET_SECCOMP = 38, 22
_ALL = 0x40000000  # __WALL: threads too
_INFO = struct.Struct("<B3xIQQ7Q")
_EXIT = struct.Struct("<qB")
_CREATE, _TRUNCATE, _SHARED, _WRITABLE = os.O_CREAT, os.O_TRUNC, 0x01, 0x02
_AT_CWD = -100

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long
_libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]


def read(events):
    """What was recorded, in order."""
    with Path(events).open("rb") as file:
        while True:
            try:
                yield pickle.load(file)
            except EOFError:
                return


class Recorder:
    """Follows one program.

    Args:
        folder: Its files are recorded; other files are not.
        out: Where events go.
    """

    def __init__(self, folder, out):
        self._folder, self._out = os.path.realpath(folder), out
        self._under_way, self._known = {}, set()
        self._syncs = 0

    def run(self, command):
        """Start the program and follow it to its end; return its exit code."""
        child = os.fork()
        if not child:
            _become(command)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda which, _: os.kill(child, which))
        os.waitpid(child, 0)
        self._known.add(child)
        _ptrace(_SETOPTIONS, child, _OPTIONS)
        _ptrace(_CONT, child, 0)
        while True:
            thread, status = os.waitpid(-1, _ALL)
            if os.WIFSTOPPED(status):
                with contextlib.suppress(ProcessLookupError):  # killed meanwhile
                    self._stopped(thread, status >> 8)
            elif thread == child:
                return os.waitstatus_to_exitcode(status)

    def _stopped(self, thread, why):
        if why == _TRAP | _SECCOMP_STOP << 8:
            self._enters(thread)
        elif why == _TRAP | 0x80:
            done = self._under_way.pop(thread, None)
            if done is not None:
                self._leaves(thread, done)
            _ptrace(_CONT, thread, 0)
        else:
            first = thread not in self._known and why == signal.SIGSTOP
            self._known.add(thread)
            _ptrace(_CONT, thread, 0 if first or why >> 8 or why == _TRAP else why)

    def _enters(self, thread):
        number, *args = _info(thread)[4:]
        name = _NAMES[number]
        done = getattr(self, f"_{name.removesuffix('64')}")(thread, *args)
        if done:
            self._under_way[thread] = done
        _ptrace(_SYSCALL if done else _CONT, thread, 0)

    def _leaves(self, thread, done):
        raw = _read_info(thread)
        result, failed = _EXIT.unpack_from(raw, 24)
        if not failed:
            for event in done(result):
                self._tell(*event)

    def _tell(self, *event):
        pickle.dump(event, self._out)

    # What a call does: each returns what to write down once it is done, given its result.

    def _write(self, thread, handle, start, size, *_):
        path = _path_of(thread, handle)
        if path.startswith("socket:"):
            self._tell("sent", _memory(thread, start, size))
        elif self._ours(path):
            data = _memory(thread, start, size)
            # Where it went is known afterwards, from where the file stands then.
            return lambda n: [("write", path, _position(thread, handle) - n, data[:n])]
        return None

    _sendto = _write

    def _writev(self, thread, handle, vectors, count, *_):
        path = _path_of(thread, handle)
        if path.startswith("socket:"):
            self._tell("sent", _gathered(thread, vectors, count))
        else:
            self._unseen(thread, handle)

    def _sendmsg(self, thread, _handle, message, *_):
        vectors, count = struct.unpack("<QQ", _memory(thread, message + 16, 16))
        self._tell("sent", _gathered(thread, vectors, count))

    def _pwrite(self, thread, handle, start, size, offset, *_):
        path = _path_of(thread, handle)
        if not self._ours(path):
            return None
        data = _memory(thread, start, size)
        return lambda n: [("write", path, offset, data[:n])]

    def _fsync(self, thread, handle, *_):
        path = _path_of(thread, handle)
        if not self._ours(path):
            return None
        self._syncs += 1
        mark = self._syncs
        self._tell("sync begins", path, mark)
        return lambda _: [("sync done", path, mark)]

    _fdatasync = _fsync

    def _ftruncate(self, thread, handle, size, *_):
        path = _path_of(thread, handle)
        return (lambda _: [("truncate", path, size)]) if self._ours(path) else None

    def _openat(self, thread, folder, name, flags, *_):
        path = _named(thread, folder, name)
        if not self._ours(path) or not flags & (_CREATE | _TRUNCATE):
            return None
        events = [("truncate", path, 0)] if Path(path).exists() else [("create", path)]
        return lambda _: events if flags & _TRUNCATE or events[0][0] == "create" else []

    def _open(self, thread, name, flags, *_):
        return self._openat(thread, _AT_CWD, name, flags)

    def _mkdirat(self, thread, folder, name, *_):
        path = _named(thread, folder, name)
        return (lambda _: [("folder", path)]) if self._ours(path) else None

    def _mkdir(self, thread, name, *_):
        return self._mkdirat(thread, _AT_CWD, name)

    def _unlinkat(self, thread, folder, name, *_):
        path = _named(thread, folder, name)
        return (lambda _: [("unlink", path)]) if self._ours(path) else None

    def _unlink(self, thread, name, *_):
        return self._unlinkat(thread, _AT_CWD, name)

    _rmdir = _unlink

    def _renameat(self, thread, folder, name, other, new, *_):
        before, after = _named(thread, folder, name), _named(thread, other, new)
        return (lambda _: [("rename", before, after)]) if self._ours(before) or self._ours(after) else None

    _renameat2 = _renameat

    def _rename(self, thread, name, new, *_):
        return self._renameat(thread, _AT_CWD, name, _AT_CWD, new)

    def _linkat(self, thread, folder, name, other, new, *_):
        before, after = _named(thread, folder, name), _named(thread, other, new)
        return (lambda _: [("link", before, after)]) if self._ours(after) else None

    def _link(self, thread, name, new, *_):
        return self._linkat(thread, _AT_CWD, name, _AT_CWD, new)

    def _mmap(self, thread, _start, _size, may, how, handle, *_):
        if may & _WRITABLE and how & _SHARED and _signed(handle) >= 0:
            path = _path_of(thread, handle)
            # SQLite's index of its WAL is made anew after a crash; other files must be written where we see it.
            if self._ours(path) and not path.endswith("-shm"):
                self._tell("unseen", path, "mmap")

    def _unseen(self, thread, handle, *_):
        path = _path_of(thread, handle)
        if self._ours(path):
            self._tell("unseen", path, "a call that is not followed")

    _pwritev = _pwritev2 = _fallocate = _unseen

    def _copy_file_range(self, thread, _from, _at, handle, *_):
        self._unseen(thread, handle)

    def _ours(self, path):
        return path == self._folder or path.startswith(f"{self._folder}/")


def _become(command):
    """In the child: be traced, then be the program."""
    _ptrace(_TRACEME, 0, 0)
    os.kill(os.getpid(), signal.SIGSTOP)
    _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    load, equal, give = 0x20, 0x15, 0x06
    tell, allow = 0x7FF00000, 0x7FFF0000
    calls = [(equal, 0, 1, number) for number in _NAMES]
    program = [(load, 0, 0, 0)]
    for call in calls:
        program += [call, (give, 0, 0, tell)]
    program.append((give, 0, 0, allow))
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *step) for step in program))
    described = ctypes.create_string_buffer(struct.pack("<H6xQ", len(program), ctypes.addressof(code)))
    if _libc.prctl(_SET_SECCOMP, 2, ctypes.addressof(described), 0, 0):
        os._exit(127)
    os.execvp(command[0], command)


def _ptrace(request, thread, data):
    if _libc.ptrace(request, thread, None, data) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _read_info(thread):
    raw = ctypes.create_string_buffer(96)
    if _libc.ptrace(_GET_SYSCALL_INFO, thread, len(raw), ctypes.cast(raw, ctypes.c_void_p)) < 0:
        raise ProcessLookupError(thread)
    return raw.raw


def _info(thread):
    return _INFO.unpack_from(_read_info(thread))


def _memory(thread, start, size):
    with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:  # noqa: PTH123 - a hundred thousand times
        return os.pread(memory.fileno(), size, start)


def _gathered(thread, vectors, count):
    raw = struct.unpack(f"<{2 * count}Q", _memory(thread, vectors, 16 * count))
    return b"".join(_memory(thread, start, size) for start, size in zip(raw[::2], raw[1::2], strict=True))


def _signed(number):
    return ctypes.c_int(number & 0xFFFFFFFF).value


def _path_of(thread, handle):
    try:
        return os.readlink(f"/proc/{thread}/fd/{_signed(handle)}")  # noqa: PTH115 - a socket is no path
    except FileNotFoundError:
        return ""


def _position(thread, handle):
    said = Path(f"/proc/{thread}/fdinfo/{_signed(handle)}").read_text()
    return int(said.split("pos:")[1].split()[0])


def _named(thread, folder, name):
    """The path that a call means, its last part as written: what it points to is another file."""
    raw = b""
    while b"\0" not in raw:  # never across a page that may not be there
        raw += _memory(thread, name + len(raw), 4096 - (name + len(raw)) % 4096)
    path = os.fsdecode(raw.partition(b"\0")[0])
    link = "cwd" if _signed(folder) == _AT_CWD else f"fd/{_signed(folder)}"
    if not path.startswith("/"):
        try:
            path = os.path.join(os.readlink(f"/proc/{thread}/{link}"), path)  # noqa: PTH115, PTH118 - quick
        except FileNotFoundError:
            return ""
    head, tail = os.path.split(path)
    return os.path.join(os.path.realpath(head), tail)  # noqa: PTH118 - quick


if __name__ == "__main__":
    assert _NAMES, f"no table of calls for {platform.machine()}"
    with Path(sys.argv[2]).open("wb") as events:
        code = Recorder(sys.argv[1], events).run(sys.argv[3:])
    sys.exit(code if code >= 0 else 128 - code)
