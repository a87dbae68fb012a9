"""Changes of the configuration's files, for `serve --reload`: a convenience while a module is being written."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..config.file import ConfigFile
from ..errors import Problem, StartupError
from ..sources.file import resolve
from ..sources.modules import is_image

logger = logging.getLogger("wagi_gateway")

_LOOK = 1000
"""Milliseconds after which the files are looked at even if the system has told of no change."""

_Stamps = dict[Path, tuple[int, int, int] | None]


def check_available() -> None:
    """Raises StartupError where the package that watches is not installed."""
    try:
        import watchfiles  # noqa: F401
    except ImportError:
        what = 'needs the package watchfiles; pip install "wagi-gateway[reload]"'
        raise StartupError(Problem("--reload", what)) from None


@contextmanager
def watching(read: Callable[[], ConfigFile], files: Iterable[Path], on_change: Callable[[], object]) -> Iterator[None]:
    """Calls `on_change` on a thread when `files` have changed, or those that the configuration names."""
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
    while not stop.is_set():
        # Their directories, because an editor puts a new file in the place of the old one.
        directories = _directories(watched)
        for _ in _wake_ups(directories, stop):
            if _stamps(watched) != watched:
                watched = _watched(read, files, watched)
                on_change()
                if _directories(watched) != directories:
                    break


def _wake_ups(directories: set[Path], stop: threading.Event) -> Iterator[object]:
    """Something whenever it is time to look."""
    import watchfiles

    try:
        yield from watchfiles.watch(
            *directories,
            watch_filter=None,
            recursive=False,
            rust_timeout=_LOOK,
            yield_on_timeout=True,
            stop_event=stop,
            raise_interrupt=False,
        )
    except (OSError, RuntimeError) as error:  # a directory has just gone, the system watches no more of them
        logger.debug("the files are looked at now and then, because they cannot be watched: %s", error)
        while not stop.wait(_LOOK / 1000):
            yield None


def _watched(read: Callable[[], ConfigFile], files: tuple[Path, ...], before: _Stamps) -> _Stamps:
    """The files as they are now; while the configuration cannot be read, those it has named before."""
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
    """What differs between two versions of a file, also where a symbolic link on the way to it leads elsewhere."""
    try:
        status = file.stat()
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _directories(files: Iterable[Path]) -> set[Path]:
    """Those of the files, and those of what they are links to."""
    found = {directory for file in files for directory in (file.absolute().parent, file.resolve().parent)}
    return {directory for directory in found if directory.is_dir()} or {Path("/")}
