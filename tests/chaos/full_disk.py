"""Runs a command for which a folder is on a full disk: ``full_disk.py FOLDER COMMAND...``.

Its temporary files go there too. The disk is a file system of a few pages in memory, full to the last, seen by this
command alone (a user and a mount namespace). Where those are forbidden, no file may grow beyond a quarter of a megabyte
instead: then writing fails with EFBIG, not ENOSPC.
"""

import contextlib
import ctypes
import os
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from devstack.part import die_with_parent

_NEW_NAMESPACES: Final = 0x1000_0000 | 0x0002_0000  # CLONE_NEWUSER | CLONE_NEWNS of linux/sched.h
_SIZE: Final = b"size=16k"
_LARGEST_FILE_BYTES: Final = 256 * 1024

_libc = ctypes.CDLL(None, use_errno=True)


def command(folder: Path, *arguments: str) -> Sequence[str]:
    """The command line that runs another command in this way."""
    return (sys.executable, __file__, str(folder), *arguments)


def fill_disk(folder: Path) -> None:
    """Make an existing folder appear full to this process and to those that it starts."""
    try:
        _mount(folder)
    except OSError:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST_FILE_BYTES, resource.RLIM_INFINITY))
        return
    with contextlib.suppress(OSError), (folder / "full").open("wb", buffering=0) as file:
        while file.write(bytes(1024)):
            pass


def _mount(folder: Path) -> None:
    user, group = os.getuid(), os.getgid()
    _checked(_libc.unshare(_NEW_NAMESPACES))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _checked(_libc.mount(b"full", os.fsencode(folder), b"tmpfs", 0, _SIZE))


def _checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def main() -> None:
    folder, *arguments = sys.argv[1:]
    parent = os.getppid()
    fill_disk(Path(folder))
    die_with_parent()  # a new user namespace forgets it
    if os.getppid() != parent:
        sys.exit("who started this has ended")
    os.environ.update({"TMPDIR": folder, "SQLITE_TMPDIR": folder})
    os.execvp(arguments[0], arguments)


if __name__ == "__main__":
    main()
