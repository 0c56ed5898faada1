"""Become another program, in a way that leaves nothing behind; run by path, standard library only.

`python -I -S launch.py --parent PID [--signal N] [--user UID:GID] [--override] -- command …`

Linux: the program gets signal N (SIGTERM) when its parent dies, even by kill -9 (PR_SET_PDEATHSIG). With
`--user` it runs as that user. With `--override` that user keeps CAP_DAC_OVERRIDE, so that it can
reach its files below directories that only root may enter, without a change to their permissions.
Exits with 126 and one line on stderr when that cannot be done.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522


def _prctl(option: int, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    padded = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    if libc.prctl(option, *padded) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}): {os.strerror(ctypes.get_errno())}")


def _keep_override() -> None:
    """Make CAP_DAC_OVERRIDE survive the exec that follows, and no other capability."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    bit = 1 << CAP_DAC_OVERRIDE
    # two blocks (capabilities 0–31, 32–63) of effective, permitted, inheritable
    data = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
    if libc.capset(header, data) != 0:
        raise OSError(ctypes.get_errno(), f"capset: {os.strerror(ctypes.get_errno())}")
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE)


def main(arguments: list[str]) -> None:
    """Do what the arguments say and exec; returns only by exception."""
    cut = arguments.index("--")
    options, command = arguments[:cut], arguments[cut + 1 :]
    parent = int(options[options.index("--parent") + 1])
    ending = int(options[options.index("--signal") + 1]) if "--signal" in options else int(signal.SIGTERM)
    os.umask(0o077)
    if "--user" in options:
        uid, gid = map(int, options[options.index("--user") + 1].split(":"))
        if "--override" in options:
            _prctl(PR_SET_KEEPCAPS, 1)
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
        if "--override" in options:
            _keep_override()
    if sys.platform == "linux":
        _prctl(PR_SET_PDEATHSIG, ending)
        if os.getppid() != parent:  # it died before the line above
            sys.exit(0)
    os.execvp(command[0], command)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError as error:
        print(f"launch: {sys.argv[-1]}: {error}", file=sys.stderr)
        sys.exit(126)
