"""Automatic reload when a file of the configuration changes: `serve --reload`, for development."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..config.file import ConfigFile
from ..errors import StartupError
from ..sources.file import resolve
from ..sources.modules import is_image

logger = logging.getLogger("wagi_gateway")

_POLL_INTERVAL = 1000
"""Milliseconds after which the files are compared even if the system has reported no change."""

_REPLACEMENT_TIME = 5.0
"""Seconds that a build may take between the removal of a file and its replacement; then its absence is a change."""
_MAX_NAMES = 5
"""Changed files that are named in the log."""

_Stamps = dict[Path, tuple[int, int, int] | None]
"""Inode, size and modification time in nanoseconds of each file; None for a file that does not exist."""


@contextmanager
def watching(read: Callable[[], ConfigFile], files: Iterable[Path], on_change: Callable[[], object]) -> Iterator[None]:
    """Calls `on_change` on a thread when one of `files`, or a file that the configuration names, has changed.

    The first one of `files` is the configuration. The log names what has changed.
    """
    stop = threading.Event()
    thread = threading.Thread(target=_watch, args=(read, tuple(files), on_change, stop), name="changes", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _watch(
    read: Callable[[], ConfigFile], files: tuple[Path, ...], on_change: Callable[[], object], stop: threading.Event
) -> None:
    watched = _watched(read, files, {})
    deadline: float | None = None
    while not stop.is_set():
        # Directories are watched, because an editor renames a new file over the old one.
        directories = _directories(watched)
        for _ in _wake_ups(directories, stop):
            changed = {file: stamp for file, stamp in _stamps(watched).items() if stamp != watched[file]}
            if None in changed.values():
                deadline = deadline or time.monotonic() + _REPLACEMENT_TIME
                if time.monotonic() < deadline:
                    continue
            deadline = None
            if changed:
                logger.info("changed: %s", _names(changed, files[0].absolute().parent))
                watched = _watched(read, files, watched)
                on_change()
                if _directories(watched) != directories:
                    break


def _names(changed: _Stamps, base: Path) -> str:
    """The names of changed files, relative to `base` where they are below it."""
    names = [
        str(file.relative_to(base) if file.is_relative_to(base) else file) + (" (removed)" if stamp is None else "")
        for file, stamp in changed.items()
    ]
    more = [f"{len(names) - _MAX_NAMES} more"] if len(names) > _MAX_NAMES else []
    return ", ".join(names[:_MAX_NAMES] + more)


def _wake_ups(directories: set[Path], stop: threading.Event) -> Iterator[object]:
    """Yields when a file in these directories may have changed, and after each _POLL_INTERVAL."""
    import watchfiles

    try:
        yield from watchfiles.watch(
            *directories,
            watch_filter=None,
            recursive=False,
            rust_timeout=_POLL_INTERVAL,
            yield_on_timeout=True,
            stop_event=stop,
            raise_interrupt=False,
        )
    except (OSError, RuntimeError) as error:  # a directory was removed, or inotify(7) has no watch left
        logger.debug("the files are looked at now and then, because they cannot be watched: %s", error)
        while not stop.wait(_POLL_INTERVAL / 1000):
            yield None


def _watched(read: Callable[[], ConfigFile], files: tuple[Path, ...], before: _Stamps) -> _Stamps:
    """Stamps of `files` and of the files the configuration names, or, while it cannot be read, has named `before`."""
    try:
        return _stamps({*files, *_named(read())})
    except StartupError:
        return _stamps({*files, *before})


def _named(file: ConfigFile) -> Iterator[Path]:
    config, base = file.config, file.base
    for module in config.module:
        if not is_image(module.module):
            try:
                yield resolve(module.module, base).path
            except ValueError:
                continue
    for name in (config.outbound.ca_file, config.server.tls_cert, config.server.tls_key):
        if name:
            yield base.absolute() / name


def _stamps(files: Iterable[Path]) -> _Stamps:
    return {file: _stamp(file) for file in files}


def _stamp(file: Path) -> tuple[int, int, int] | None:
    """A stamp that differs between two versions of a file, and changes when a symbolic link in its path does."""
    try:
        status = file.stat()
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _directories(files: Iterable[Path]) -> set[Path]:
    """The directories of the files, and of the targets of symbolic links."""
    found = {directory for file in files for directory in (file.absolute().parent, file.resolve().parent)}
    return {directory for directory in found if directory.is_dir()} or {Path("/")}
