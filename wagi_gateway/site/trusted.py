"""Trusted files: what the gateway reads at a start or writes for itself, and no guest may change and no client read."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from ..config.file import ConfigFile, log_files
from ..config.values import parse_unix
from ..sources.directory_chain import exchangeable, unsafe, writable_by_all
from ..sources.file import resolve
from ..sources.modules import auth_files, is_image
from .findings import Findings
from .mounts import Location, Mounts, places

MAX_ENTRIES = 100_000
"""Entries of a directory tree among which other names of a hard-linked file are searched."""
_MAX_NAMED = 3
"""Files that one message names."""

_PACKAGE = Path(__file__).resolve().parents[1]


_Kind = Literal["file", "credential", "directory", "published", "build"]
_CERTIFICATES: dict[str, _Kind] = {"SSL_CERT_FILE": "file", "SSL_CERT_DIR": "directory"}
"""OpenSSL's variables: the authorities of outbound calls and registries."""
_COLLECTOR: dict[str, _Kind] = {"CERTIFICATE": "file", "CLIENT_CERTIFICATE": "file", "CLIENT_KEY": "credential"}
"""OpenTelemetry's variables of files, without `OTEL_EXPORTER_OTLP_` and `OTEL_EXPORTER_OTLP_TRACES_`."""


class TrustedFile(NamedTuple):
    """A file or directory."""

    name: str
    """Its name in messages."""
    path: Path
    is_secret: bool = False
    kind: _Kind = "file"
    """A `credential` belongs in directories of this user and root. Of a `directory` everything in it counts as well.
    In a `published` one guests may write, but not exchange it. A `build` directory holds what `wagi-gateway build`
    executes: no volume is it, or holds it."""


class TrustedFiles:
    """The trusted files of a configuration, by the directories that hold them.

    Paths are compared by their places on filesystems, so neither symbolic links nor bind mounts hide a file. Other
    names of one inode (hard links) are searched in the directory itself, if there can be any.
    """

    def __init__(self, files: Iterable[TrustedFile], mounts: Mounts | None = None) -> None:
        self._mounts = mounts or Mounts()
        self._holders: dict[Location, list[TrustedFile]] = {}
        self._directories: dict[Location, TrustedFile] = {}
        """The trusted directories, and what is mounted inside of them."""
        self._linked: dict[tuple[int, int], TrustedFile] = {}
        """The files with several hard links, by device and inode."""
        for file in files:
            self._add(file)

    def held_by(self, directory: Path, *, secrets: bool = False) -> list[TrustedFile]:
        """The files below a directory, or with a symbolic link on their way there. Hard links are not searched.

        `directory` is absolute and has no symbolic links; `secrets` restricts the files to secret ones.
        """
        found = (file for tree in self._mounts.trees(directory) for file in self._holders.get(tree, ()))
        return [file for file in dict.fromkeys(found) if file.is_secret or not secrets]

    def around(self, directory: Path, *, secrets: bool = False) -> TrustedFile | None:
        """The trusted directory that a directory lies in."""
        found = (self._directories.get(outer) for outer in self._mounts.location(directory).above())
        return next((file for file in found if file and (file.is_secret or not secrets)), None)

    def linked_in(self, directory: Path, *, secrets: bool = False) -> TrustedFile | None:
        """The first file of which a directory holds a hard link. Raises TooManyEntries, OSError."""
        linked = {identity: file for identity, file in self._linked.items() if file.is_secret or not secrets}
        if len(self._mounts.trees(directory)) == 1:  # one filesystem, and no hard link leads to another one
            device = directory.stat().st_dev
            linked = {identity: file for identity, file in linked.items() if identity[0] == device}
        if not linked:
            return None
        for count, status in enumerate(_files(directory)):
            if file := linked.get((status.st_dev, status.st_ino)):
                return file
            if count >= MAX_ENTRIES:
                raise TooManyEntries(next(iter(linked.values())))
        return None

    def _add(self, file: TrustedFile) -> None:
        *on_the_way, real = places(file.path)
        here = self._mounts.location(real)
        holders = [outer for place in (*on_the_way, real) for outer in self._mounts.location(place).above()]
        if file.kind != "published":
            holders.append(here)  # a mount of the file itself, or the directory
        for holder in dict.fromkeys(holders):
            self._holders.setdefault(holder, []).append(file)
        if file.kind == "directory":
            self._directories |= dict.fromkeys(self._mounts.trees(real), file)
        with contextlib.suppress(OSError, ValueError):  # a file that does not exist has no other names
            status = real.stat()
            if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
                self._linked[status.st_dev, status.st_ino] = file


class TooManyEntries(Exception):
    """A directory holds too many entries to search it for hard links of `file`."""

    def __init__(self, file: TrustedFile) -> None:
        super().__init__()
        self.file = file


def names(files: Iterable[TrustedFile]) -> str:
    """The names of files in a message, the first few of many."""
    found = [file.name for file in files]
    if len(found) > _MAX_NAMED:
        found[_MAX_NAMED:] = [f"{len(found) - _MAX_NAMED} more"]
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} and {found[-1]}"


def trusted_files(file: ConfigFile, cache: Path | None, logs: Path | None) -> list[TrustedFile]:
    """The trusted files of a configuration. A path with a NUL, which no file has, is refused where the file is read."""
    return [trusted for trusted in _trusted_files(file, cache, logs) if "\0" not in str(trusted.path)]


def _trusted_files(file: ConfigFile, cache: Path | None, logs: Path | None) -> Iterator[TrustedFile]:
    """The trusted files of a configuration. `cache` and `logs` are directories of the server, None if unused."""
    if file.path.exists():  # `run` has no file
        yield TrustedFile("this file", file.path, is_secret=True)
        yield from _standard_error()
    if file.settings:
        yield TrustedFile(str(file.settings), file.settings, is_secret=True)
    for path in file.env_files:
        yield TrustedFile(f"the env file {path}", path, is_secret=True)
    if cache:
        yield TrustedFile(f"the cache {cache}", cache, is_secret=True, kind="directory")
    if logs:
        yield TrustedFile(f"the logs (log.directory) in {logs}", logs, is_secret=True, kind="directory")
    for path in log_files(file).values():
        yield TrustedFile(f"the log {path} (log_file)", path, is_secret=True)
    yield from _named_in_settings(file)
    yield from _modules(file)
    for directory in dict.fromkeys(module.build.directory for module in file.config.module if module.build):
        yield TrustedFile(f"the directory {directory} of a build", file.base / directory, kind="build")
    for static in file.config.static:
        yield TrustedFile(f"the published directory {static.directory}", file.base / static.directory, kind="published")
    for root in filter(None, (module.document_root for module in file.config.module)):
        yield TrustedFile(f"the document root {root.path}", file.base / root.path, kind="published")
    for code in _own_code():
        yield TrustedFile(f"the gateway's own code in {code}", code, kind="directory")
    yield TrustedFile("the gateway's own memory (proc(5))", Path("/proc/self/mem"), is_secret=True)


def _standard_error() -> Iterator[TrustedFile]:
    """The file that standard error is redirected to, if it is one: the log."""
    with contextlib.suppress(OSError):
        path = Path(os.readlink("/proc/self/fd/2"))
        if path.is_file() and os.path.samestat(path.stat(), os.fstat(2)):  # a deleted file has no path
            yield TrustedFile(f"the log {path} (standard error)", path, is_secret=True)


def _own_code() -> Iterator[Path]:
    """The package, the interpreter with its library, and the virtual environment or else the directories of all
    packages."""
    yield _PACKAGE
    yield Path("/proc/self/exe").resolve()
    yield Path(sysconfig.get_path("stdlib"))
    packages = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
    yield from map(Path, dict.fromkeys(packages if sys.prefix == sys.base_prefix else (sys.prefix,)))


def warn_of_exchangeable(files: Iterable[TrustedFile], findings: Findings) -> None:
    """Warns of files that another user could change or exchange: any user, or of credentials any but this one and
    root."""
    exposed: dict[str, list[TrustedFile]] = {}
    for file in files:
        if file.kind in ("file", "credential"):
            fault = unsafe if file.kind == "credential" else writable_by_all
            if reason := exchangeable(file.path, fault):
                exposed.setdefault(reason, []).append(file)
    for reason, some in exposed.items():
        findings.warn(f"{names(some)}: {reason}")


def _named_in_settings(file: ConfigFile) -> Iterator[TrustedFile]:
    """The files that settings name, and those of the environment that hold credentials or certificates."""
    config, server = file.config, file.config.server
    secrets = {"server.tls_key": server.tls_key or server.tls_cert, "auth_file": config.auth_file}
    secrets |= {f"registries.{host}.password_file": one.password_file for host, one in config.registries.items()}
    public = {"server.tls_cert": server.tls_cert, "outbound.ca_file": config.outbound.ca_file}
    public |= {f"registries.{host}.ca_file": one.ca_file for host, one in config.registries.items()}
    for key, listen in (("server.listen", server.listen), ("admin.listen", config.admin.listen)):
        public[key] = parse_unix(listen) if listen else None
    yield from (TrustedFile(key, file.base / path, True, "credential") for key, path in secrets.items() if path)
    yield from (TrustedFile(key, file.base / path) for key, path in public.items() if path)
    if any(is_image(module.module) for module in config.module):
        found = auth_files(config, file.base)
        yield from (TrustedFile(f"the credentials {path}", path, True, "credential") for path in found)
    for name, kind in _CERTIFICATES.items():
        for path in filter(None, os.environ.get(name, "").split(os.pathsep)):
            yield TrustedFile(f"the certificates {path} ({name})", Path(path), kind=kind)
    yield from _of_collector() if config.tracing.export else ()


def _of_collector() -> Iterator[TrustedFile]:
    """The files of the environment with which spans are sent."""
    for name, kind in _COLLECTOR.items():
        for variable in (f"OTEL_EXPORTER_OTLP_{name}", f"OTEL_EXPORTER_OTLP_TRACES_{name}"):
            if given := os.environ.get(variable):
                yield TrustedFile(f"{variable}={given}", Path(given), kind == "credential", kind)


def _modules(file: ConfigFile) -> Iterator[TrustedFile]:
    """The files of modules: each in the place where it is, and in the place that is searched before."""
    for reference in dict.fromkeys(module.module for module in file.config.module if not is_image(module.module)):
        with contextlib.suppress(ValueError):  # the loader of modules reports it
            found = resolve(reference, file.base)
            paths = [found.path] if found.warning is None else [found.path, file.base / reference]
            yield from (TrustedFile(f"the module {path}", path) for path in paths)


def _files(directory: Path) -> Iterator[os.stat_result]:
    """The status of each entry below a directory; entries that vanish meanwhile are left out."""
    pending = [str(directory)]
    while pending:
        with contextlib.suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        pending.append(entry.path)
                    yield status
