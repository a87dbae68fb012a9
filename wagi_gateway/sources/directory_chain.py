"""A directory that is opened name by name from the root, each directory on the way being judged by its descriptor.

A user who may write to a directory may exchange what is in it, so owner and mode of a directory say little while one
above it belongs to others. What is judged is what is opened: openat(2) with O_NOFOLLOW, then fstat(2). The rules are
those of OpenSSH (StrictModes) and sudo.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

_OPEN = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS = 40
"""Symbolic links of one path that the kernel follows (path_resolution(7))."""


class ChainRefused(Exception):
    """Another user could exchange the directory, or it is none; the message says why and what to do."""


Fault = Callable[[os.stat_result], str | None]
"""Says why another user may change what a status is of, or None."""


def open_chain(path: Path) -> int:
    """Opens a directory with O_PATH, and makes it, and those above it, with mode 0700 if they are missing.

    Raises OSError, and ChainRefused unless this user or root owns the directory and nobody else may write to it, and
    the same holds for all directories above it and for symbolic links on the way. The directory itself is no link.
    """
    return _open(path.absolute(), unsafe, is_private=True)


def exchangeable(path: Path, fault: Fault) -> str | None:
    """Why another user could change a file or exchange it, or None; `fault` judges it and each directory above it."""
    try:
        for place in dict.fromkeys((path.absolute(), path.resolve())):  # a link's own directories, and its target's
            os.close(_open(place.parent, fault, is_private=False))
        reason = fault(path.stat())
    except ChainRefused as refused:
        return str(refused)
    except (OSError, RuntimeError):  # the reader of the file reports it; a loop of links
        return None
    return f"{path} {reason}; chmod go-w, or change its owner" if reason else None


def _open(path: Path, fault: Fault, *, is_private: bool) -> int:
    pending = list(reversed(path.parts[1:]))
    shown, links = Path("/"), 0
    descriptor = os.open("/", _OPEN)
    try:
        _judge(descriptor, path, shown, fault)
        while pending:
            name = pending.pop()
            target = _link(descriptor, name)
            if target is None:
                outer, descriptor = descriptor, _enter(descriptor, name, make=is_private)
                is_mount = os.fstat(outer).st_dev != os.fstat(descriptor).st_dev
                os.close(outer)
                shown = shown.parent if name == ".." else shown / name
                is_last = is_private and not pending
                _judge(descriptor, path, shown, fault, is_last=is_last, is_mount=is_mount)
                continue
            links += 1
            if (is_private and not pending) or links > _MAX_LINKS:
                raise ChainRefused(f"{path} is a symbolic link; name the directory itself")
            if is_private:
                _judge_link(descriptor, name, path, shown)
            if target.is_absolute():
                os.close(descriptor)
                descriptor, shown = os.open("/", _OPEN), Path("/")
            pending += reversed([part for part in target.parts if part != "/"])
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def writable_by_all(status: os.stat_result) -> str | None:
    """Why every user may have changed a file, or None."""
    if status.st_mode & stat.S_IWOTH:
        return f"is writable by all (mode {stat.S_IMODE(status.st_mode):04o})"
    return None


def unsafe(status: os.stat_result) -> str | None:
    """Why another user may have changed a file, or None."""
    if reason := _of_another(status):
        return reason
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"is writable by others (mode {stat.S_IMODE(status.st_mode):04o})"
    return None


def _of_another(status: os.stat_result) -> str | None:
    if status.st_uid not in (0, os.geteuid()):
        return f"belongs to user {status.st_uid}, not to user {os.geteuid()} who runs this"
    return None


def _link(directory: int, name: str) -> Path | None:
    try:
        return Path(os.readlink(name, dir_fd=directory))
    except OSError:
        return None


def _enter(directory: int, name: str, *, make: bool) -> int:
    """Opens a directory in another one, and makes it first if it is missing and `make` says so."""
    try:
        return os.open(name, _OPEN, dir_fd=directory)
    except FileNotFoundError:
        if not make:
            raise
        with contextlib.suppress(FileExistsError):  # another process has just made it
            os.mkdir(name, mode=0o700, dir_fd=directory)
        return os.open(name, _OPEN, dir_fd=directory)
    except NotADirectoryError:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None


def _judge(
    descriptor: int, path: Path, shown: Path, fault: Fault, *, is_last: bool = False, is_mount: bool = False
) -> None:
    status = os.fstat(descriptor)
    reason = fault(status)
    if not reason:
        return
    if is_last:
        raise ChainRefused(f"{path} {reason}; choose a directory of your own, with mode 0700")
    # In a directory with the sticky bit, such as /tmp, nobody but its owner exchanges a directory, and that one is
    # judged next. Root's own mounts are Kubernetes' emptyDir, with mode 0777: the users of such a volume are the
    # containers of one Pod.
    is_own = fault is not unsafe or not _of_another(status)
    if is_own and (status.st_mode & stat.S_ISVTX or (is_mount and status.st_uid == 0)):
        return
    advice = "choose a directory below one of your own" if _of_another(status) else f"chmod go-w {shown}"
    raise ChainRefused(f"{path} could be exchanged by others: {shown} {reason}; {advice}")


def _judge_link(directory: int, name: str, path: Path, shown: Path) -> None:
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if reason := _of_another(status):
        raise ChainRefused(
            f"{path} could be exchanged by others: the symbolic link {shown / name} {reason}; name the directory itself"
        )
