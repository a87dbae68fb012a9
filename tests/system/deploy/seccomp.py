"""Seccomp filters like those of systemd and of container runtimes, by libseccomp, which both use."""

from __future__ import annotations

import ctypes
import errno
import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.support.registry import installed

RUNTIME_DEFAULT = Path("/usr/share/containers/seccomp.json")
"""The default profile of podman, buildah and CRI-O, similar to Docker's and containerd's."""
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
_UNKNOWN = -1
"""The library's result for an unknown call."""


class Filter:
    """The allowed system calls; any other call fails with `error`."""

    def __init__(self, allowed: Iterable[str], error: int = errno.EPERM) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._library.seccomp_init.argtypes = (ctypes.c_uint32,)
        self._library.seccomp_load.argtypes = (ctypes.c_void_p,)
        self._library.seccomp_rule_add_array.argtypes = (
            *(ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p),
        )
        self._context = self._library.seccomp_init(_REFUSE | error)
        for name in sorted(set(allowed)):
            number = self._library.seccomp_syscall_resolve_name(name.encode())
            if number != _UNKNOWN:
                done = self._library.seccomp_rule_add_array(self._context, _ALLOW, number, 0, None)
                assert done in (0, -errno.EDOM), f"{name}: {done}"

    def load(self) -> None:
        """Installs the filter for this thread and its children, irrevocably; for `preexec_fn`."""
        done = self._library.seccomp_load(self._context)
        if done:
            raise OSError(-done, "seccomp_load")


def systemd_filter(lines: Iterable[str]) -> Filter:
    """The filter of `SystemCallFilter=` lines: the first one allows calls, lines with `~` remove some."""
    allowed: set[str] = set()
    for line in lines:
        names = {name for word in line.removeprefix("~").split() for name in _expanded(word)}
        allowed = allowed - names if line.startswith("~") else allowed | names
    return Filter(allowed | set(_expanded("@default")))


def runtime_default() -> Filter:
    """The runtimes' default profile for a process without capabilities; its few rules about arguments are left out."""
    profile = json.loads(RUNTIME_DEFAULT.read_text())
    allowed = {
        name
        for entry in profile["syscalls"]
        if entry["action"] == "SCMP_ACT_ALLOW" and not entry.get("includes", {}).get("caps")
        for name in entry["names"]
    }
    return Filter(allowed, errno.ENOSYS)


def _expanded(word: str) -> list[str]:
    """The calls of a group such as `@system-service`, with nested groups."""
    if not word.startswith("@"):
        return [word]
    command = [installed("systemd-analyze"), "syscall-filter", word]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = (line.strip() for line in listing.splitlines()[1:])
    return [name for line in lines if line and not line.startswith("#") for name in _expanded(line)]
