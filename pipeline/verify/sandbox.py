"""Run recorded code so that it changes nothing outside one folder: Landlock (Linux 6.2 or newer), and an empty environment.

Landlock (https://docs.kernel.org/userspace-api/landlock.html) needs no privileges. The confined process and its children
create, write, rename and remove files below the folder only, whatever link, path or setting leads them elsewhere; they open
no TCP connection unless allowed to, and signal no other process. They still read files, change mode and time of the user's
own, reach sockets of the file system, and, as root, look into other processes.

This file is also the program that confines itself and then becomes the command: it must import nothing of the checkout.
"""

import ctypes
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # system calls, on every architecture
_NO_NEW_PRIVILEGES = 38  # of prctl
_NEEDED = 3  # version of Landlock; earlier ones let files outside be truncated
_WRITE, _TRUNCATE = 1 << 1, 1 << 14
_CHANGE = _WRITE | _TRUNCATE | sum(1 << bit for bit in range(4, 14))  # remove, make and rename whatever there is
_TCP, _SCOPES = 0b11, 0b11  # bind and connect; abstract sockets and signals
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/dri", "/dev/kfd")
_END = 10_000  # bytes of stderr
_libc = ctypes.CDLL(None, use_errno=True)


def version() -> int:
    """Return the version of Landlock that this system has, 0 for none."""
    return max(0, int(_libc.syscall(_CREATE, None, ctypes.c_size_t(0), 1))) if sys.platform == "linux" else 0


def confines() -> bool:
    """Return whether `run` can confine a process on this system."""
    return version() >= _NEEDED


def run(command: Sequence[str], folder: Path, variables: Mapping[str, str], *, network: bool, shown: bool) -> tuple[int, str]:
    """Run `command` in `folder` with no more than these environment variables; return its exit code and the end of stderr.

    Args:
        command: A program by its absolute path, and its arguments.
        folder: The only place that it can write to, without links to it.
        variables: The whole environment.
        network: Whether it may use TCP.
        shown: Whether to print its stdout, without control characters, which could rewrite what the terminal shows.
    """
    launcher = [sys.executable, "-I", __file__, str(folder), "network" if network else "", *command]
    stdout = subprocess.PIPE if shown else subprocess.DEVNULL
    with tempfile.TemporaryFile() as notes:
        with subprocess.Popen(
            launcher, cwd=folder, env=variables, stdout=stdout, stderr=notes, text=True, errors="replace"
        ) as process:
            try:
                for line in process.stdout or ():
                    print("".join(filter(str.isprintable, line)), flush=True)
                process.wait()
            except BaseException:  # Ctrl-C: it does not outlive this process
                process.kill()
                process.wait()
                raise
        notes.seek(max(0, notes.seek(0, os.SEEK_END) - _END))
        return process.returncode, notes.read().decode(errors="replace")


def confine(folder: str, *, network: bool) -> None:
    """Confine this process for good.

    Raises:
        OSError: the system refuses to.
    """
    found = version()
    attributes = struct.pack("=QQQ", _CHANGE, 0 if network or found < 4 else _TCP, _SCOPES if found >= 6 else 0)
    ruleset = _call(_CREATE, attributes, ctypes.c_size_t(len(attributes)), 0)
    _allow(ruleset, folder, _CHANGE)
    for device in (*map(Path, _DEVICES), *Path("/dev").glob("nvidia*")):
        if device.exists():
            _allow(ruleset, str(device), _WRITE | (0 if device.is_dir() else _TRUNCATE))
    if _libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    _call(_RESTRICT, ruleset, 0)


def _allow(ruleset: int, path: str, access: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    _call(_ADD, ruleset, 1, struct.pack("=Qi", access, place), 0)
    os.close(place)


def _call(number: int, *arguments: Any) -> int:
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), "Landlock")
    return result


def main(folder: str, network: str, *command: str) -> None:
    """Confine this process, where the system can, and become `command`."""
    if confines():
        confine(folder, network=bool(network))
    os.execv(command[0], command)  # noqa: S606  # no shell is the point


if __name__ == "__main__":
    main(*sys.argv[1:])
