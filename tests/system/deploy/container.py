"""A container runtime for tests: `securityContext` with a read-only root, without cgroups.

`python -m tests.system.deploy.container ROOT FOLDER UID:GID ENVIRONMENT PROGRAM [ARGUMENT ...]`, as root in namespaces
of its own, runs a program in ROOT with FOLDER at /etc/wagi-gateway; /tmp and /cache are the only places to write to.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys

from tests.system.deploy.seccomp import runtime_default

NAMESPACES = ("--mount", "--net", "--pid", "--ipc", "--uts")
_SIOCSIFFLAGS, _UP = 0x8914, 0x1
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
_LAST_CAPABILITY = 40


def main(root: str, folder: str, user: str, environment: str, *command: str) -> None:
    """Replaces this process by the program."""
    for place, options in (
        (root, ["--bind", "-o", "ro"]),
        ("/proc", ["-t", "proc", "-o", "nosuid,nodev,noexec"]),
        ("/dev", ["-t", "tmpfs", "-o", "nosuid,mode=755"]),
        ("/tmp", ["-t", "tmpfs", "-o", "nosuid,nodev,mode=1777"]),
        ("/cache", ["-t", "tmpfs", "-o", "nosuid,nodev,mode=0777"]),  # like the kubelet's emptyDir
        ("/etc/wagi-gateway", ["--bind", "-o", "ro"]),
    ):
        source = {root: root, "/etc/wagi-gateway": folder}.get(place, "none")
        subprocess.run(["mount", *options, source, root if place == root else root + place], check=True)
    for device in ("null", "urandom"):
        open(f"{root}/dev/{device}", "w").close()
        subprocess.run(["mount", "--bind", f"/dev/{device}", f"{root}/dev/{device}"], check=True)
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _UP))
    libc, calls = ctypes.CDLL(None, use_errno=True), runtime_default()
    os.chroot(root)
    os.chdir("/etc/wagi-gateway")
    for capability in range(_LAST_CAPABILITY + 1):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    user_id, group_id = map(int, user.split(":"))
    os.setgroups([])
    os.setresgid(group_id, group_id, group_id)
    os.setresuid(user_id, user_id, user_id)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    calls.load()
    os.execve(command[0], command, json.loads(environment))


if __name__ == "__main__":
    main(*sys.argv[1:])
