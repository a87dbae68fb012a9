"""The document root of an interpreter: which script or file of a directory answers a path.

The rules are those of nginx's try_files and fastcgi_split_path_info, with each hole closed that needs care there: the
first regular file on the way decides, so that `/uploads/x.jpg/a.php` runs neither name.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from starlette.concurrency import run_in_threadpool
from starlette.types import Receive

from ..cgi.request import RequestHead
from ..config.settings import TEMPORARY_VOLUME, DocumentRootConfig
from ..errors import AtCapacity, FilesOnly, NotFound
from ..router import RouteMatch
from .reply import Reply
from .source_names import source_pattern
from .static import OpenFile, StaticDirectory, is_hidden, redirect_to_directory

_PRIVATE = ("php.ini",)
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Script(NamedTuple):
    """A script of the directory and the rest of the request's path, both empty or with a slash in front."""

    path: str
    path_info: str = ""
    raw_path_info: bytes = b""
    is_translated: bool = False
    """Whether PATH_TRANSLATED is set: for a path that names no file. With `cgi.fix_pathinfo = 0` php-cgi runs the file
    of PATH_TRANSLATED in the place of SCRIPT_FILENAME, and `/a.php/uploads/x.jpg` would run the picture."""


class _Redirect(NamedTuple):
    """A directory whose path lacks the slash at its end."""


@dataclass(frozen=True, slots=True)
class ScriptRequest:
    """A request for a script: its division of the path, and the variables that name the script."""

    match: RouteMatch[Any]
    variables: dict[bytes, bytes]
    """DOCUMENT_ROOT, SCRIPT_FILENAME, REDIRECT_STATUS, TMPDIR."""
    path_translated: bytes
    """PATH_TRANSLATED (RFC 3875 section 4.1.6); empty for a request that has none."""


class DocumentRoot:
    """Finds the script of a request's path, and sends what is no script."""

    def __init__(self, config: DocumentRootConfig, files: StaticDirectory, guest_path: str) -> None:
        """`guest_path` is where guests see the directory of `files`."""
        self.files = files
        self._config = config
        self._guest_path = guest_path.rstrip("/")
        self._suffixes = tuple(suffix.lower() for suffix in config.scripts)
        self._source = source_pattern(self._suffixes)

    async def answer(
        self, request: RequestHead, match: RouteMatch[object], receive: Receive, reply: Reply
    ) -> ScriptRequest | None:
        """The script that answers a path; None once a file was sent. Raises RequestError, ClientDisconnect."""
        found = await run_in_threadpool(self._find, match)
        if isinstance(found, OpenFile):
            if request.method not in ("GET", "HEAD"):
                os.close(found.descriptor)
                raise FilesOnly(f"{request.method} is not for files")
            await self.files.send_file(found, request, receive, reply)
            return None
        if isinstance(found, _Redirect):
            await redirect_to_directory(request, match, receive, reply)
            return None
        return self._request(match, found)

    def _request(self, match: RouteMatch[object], script: Script) -> ScriptRequest:
        path, path_info = script.path.encode(), script.path_info.encode()
        root = self._guest_path.encode()
        variables = {
            b"DOCUMENT_ROOT": root or b"/",
            b"SCRIPT_FILENAME": root + path,
            b"REDIRECT_STATUS": b"200",  # php-cgi refuses to run without it
            b"TMPDIR": TEMPORARY_VOLUME.encode(),
        }
        divided = match._replace(
            script_name=match.script_name + path, path_info=path_info, raw_path_info=script.raw_path_info
        )
        return ScriptRequest(divided, variables, root + path_info if script.is_translated else b"")

    def _find(self, match: RouteMatch[object]) -> Script | OpenFile | _Redirect:
        """Raises NotFound, AtCapacity."""
        if self._config.front_controller and not match.path_info:  # an exact route, or a directory without its slash
            is_prefix = match.pattern.endswith("/...")
            return _Redirect() if is_prefix else Script("/" + self._config.front_controller)
        try:
            found = self._walk(match.raw_path_info)
        except NotFound:
            if self._config.front_controller is None:
                raise
        except OSError as error:
            if error.errno in _EXHAUSTED:
                raise AtCapacity(f"the file cannot be opened: {error.strerror}", limit="descriptors") from None
            if self._config.front_controller is None:
                raise NotFound(f"the file cannot be read: {error.strerror}") from None
        else:
            return found
        return Script("/" + self._config.front_controller)

    def _walk(self, raw_path: bytes) -> Script | OpenFile | _Redirect:
        """What answers a path, still encoded, whose first regular file decides. Raises NotFound, OSError."""
        found = ""
        raw_segments = raw_path.split(b"/")[1:]
        for number, raw in enumerate(raw_segments, start=1):
            segment = unquote_to_bytes(raw).decode()
            if not segment and number == len(raw_segments):  # the slash at the end of a directory
                break
            if not segment or "/" in segment or is_hidden(segment):
                raise NotFound("the path has a segment that no served file has")
            found = f"{found}/{segment}"
            mode = os.lstat(self._host(found)).st_mode
            if stat.S_ISLNK(mode):
                mode = os.stat(self._real(found)).st_mode
            if stat.S_ISREG(mode):
                return self._file(found, b"".join(b"/" + each for each in raw_segments[number:]))
            if not stat.S_ISDIR(mode):
                raise NotFound("there is no such file")
        return self._index(found, has_slash=raw_path.endswith(b"/"))

    def _index(self, directory: str, *, has_slash: bool) -> Script | OpenFile | _Redirect:
        """Raises NotFound, OSError."""
        for name in self._config.index:
            candidate = f"{directory}/{name}"
            if os.path.isfile(self._host(candidate)):
                return self._file(candidate) if has_slash else _Redirect()
        raise NotFound("the directory has no index")

    def _file(self, path: str, raw_rest: bytes = b"") -> Script | OpenFile:
        """A regular file that the rest of the request's path, still encoded, follows. Raises NotFound, OSError."""
        real = self._real(path)
        if self._is_script(path) and self._is_script(real):
            rest = unquote_to_bytes(raw_rest).decode()
            return Script(path, rest, raw_rest, bool(rest) and not os.path.isfile(self._host(rest)))
        if raw_rest or any(self._is_private(os.path.basename(name)) for name in (path, real)):
            raise NotFound("there is no such file")
        return self.files.open_file(real)

    def _real(self, path: str) -> str:
        """The path without symbolic links. Raises NotFound for one that leads out of the root or to a hidden file."""
        root = os.path.realpath(self.files.path)
        real = os.path.realpath(self._host(path))
        inside = os.path.relpath(real, root).split("/")
        if ".." in inside or any(map(is_hidden, inside)):
            raise NotFound("a symbolic link leads out of the document root")
        return real

    def _host(self, path: str) -> str:
        return f"{self.files.path}{path}"

    def _is_script(self, path: str) -> bool:
        # Lower case: a file system that ignores case opens index.php as INDEX.PHP.
        return bool(self._suffixes) and path.lower().endswith(self._suffixes)

    def _is_private(self, name: str) -> bool:
        """Whether a file is never sent: source code, copies of it, and settings of the interpreter."""
        return name.lower() in _PRIVATE or self._source.search(name) is not None
