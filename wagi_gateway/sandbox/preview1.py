"""WASI preview 1 for guests without volumes: the gateway's own functions in the place of wasmtime's.

Clocks alone stay wasmtime's. The functions on files and sockets have nothing to work on: each refuses its descriptor.
wasmtime's own would first read a path of any length.
"""

from __future__ import annotations

from . import descriptors, device_functions, errno, strings
from .context import ExecutionContext
from .fd_readdir import directory_opened, directory_renumbered, fd_readdir
from .host import HostFunction, HostImport
from .path_opened import path_opened
from .poll_oneoff import poll_oneoff
from .proc_exit import proc_exit
from .random_get import random_get

MODULE = "wasi_snapshot_preview1"


def _no_file(_context: ExecutionContext, *_arguments: int) -> int:
    return errno.BADF


def _no_socket(context: ExecutionContext, descriptor: int, *_arguments: int) -> int:
    return errno.NOTSOCK if descriptors.is_open(context, descriptor) else errno.BADF


def _yield(_context: ExecutionContext) -> int:
    return errno.SUCCESS


def _host(name: str, parameters: str, function: HostFunction = _no_file, *, has_result: bool = True) -> HostImport:
    return HostImport(MODULE, name, parameters, function, failed=errno.IO, has_result=has_result)


STREAMS = (
    _host("fd_close", "i", descriptors.fd_close),
    _host("fd_fdstat_get", "ii", descriptors.fd_fdstat_get),
    _host("fd_filestat_get", "ii", descriptors.fd_filestat_get),
    _host("fd_pread", "iiiIi", descriptors.fd_pread),
    _host("fd_prestat_dir_name", "iii", descriptors.fd_prestat_dir_name),
    _host("fd_prestat_get", "ii", device_functions.fd_prestat_get),
    _host("fd_pwrite", "iiiIi", descriptors.fd_pwrite),
    _host("fd_read", "iiii", descriptors.fd_read),
    _host("fd_renumber", "ii", descriptors.fd_renumber),
    _host("fd_seek", "iIii", descriptors.fd_seek),
    _host("fd_tell", "ii", descriptors.fd_tell),
    _host("fd_write", "iiii", descriptors.fd_write),
)
"""The functions on the descriptors 0 to 2."""

PROCESS = (
    _host("args_get", "ii", strings.args_get),
    _host("args_sizes_get", "ii", strings.args_sizes_get),
    _host("environ_get", "ii", strings.environ_get),
    _host("environ_sizes_get", "ii", strings.environ_sizes_get),
    _host("poll_oneoff", "iiii", poll_oneoff),
    _host("proc_exit", "i", proc_exit, has_result=False),
    _host("random_get", "ii", random_get),
    _host("sched_yield", "", _yield),
    _host("sock_accept", "iii", _no_socket),
    _host("sock_recv", "iiiiii", _no_socket),
    _host("sock_send", "iiiii", _no_socket),
    _host("sock_shutdown", "ii", _no_socket),
)
"""The functions that know no file."""

DIRECTORIES = (
    _host("directory_opened", "iiii", directory_opened),
    _host("directory_renumbered", "ii", directory_renumbered),
    _host("fd_readdir", "iiiIi", fd_readdir),
    _host("path_opened", "iiiii", path_opened),
)
"""The functions on the directories of volumes: one of WASI's, and those that `adapter` calls."""

DEVICES = (
    _host("path_filestat_get", "iiiii", device_functions.path_filestat_get),
    _host("path_open", "iiiiiIIii", device_functions.path_open),
)
"""The functions on the paths of devices."""

NO_FILES = (
    _host("fd_advise", "iIIi"),
    _host("fd_allocate", "iII"),
    _host("fd_datasync", "i"),
    _host("fd_fdstat_set_flags", "ii"),
    _host("fd_fdstat_set_rights", "iII"),
    _host("fd_filestat_set_size", "iI"),
    _host("fd_filestat_set_times", "iIIi"),
    _host("fd_readdir", "iiiIi", device_functions.fd_readdir),
    _host("fd_sync", "i"),
    _host("path_create_directory", "iii"),
    _host("path_filestat_set_times", "iiiiIIi"),
    _host("path_link", "iiiiiii"),
    _host("path_readlink", "iiiiii"),
    _host("path_remove_directory", "iii"),
    _host("path_rename", "iiiiii"),
    _host("path_symlink", "iiiii"),
    _host("path_unlink_file", "iii"),
    *DEVICES,
)
"""The functions on files, of which there are none but devices."""


def wasm_types(parameters: str) -> str:
    """The parameters of a HostImport in the text format."""
    return " ".join("i64" if kind == "I" else "i32" for kind in parameters)
