"""Isolation: a guest sees its own request and input, and nothing of other requests, the host or the server."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.conftest import Server, running
from tests.support import guests
from tests.support.config import guest, module

PARALLEL = 50

_IMPORT = '(import "wasi_snapshot_preview1" "{0}" (func ${0} (param {1}) (result i32)))'
IMPORTS = "".join(
    _IMPORT.format(name, " ".join(["i32"] * count))
    for name, count in {
        "fd_write": 4,
        "fd_read": 4,
        "args_sizes_get": 2,
        "args_get": 2,
        "environ_sizes_get": 2,
        "environ_get": 2,
    }.items()
)


def shows_everything(ending: str = "") -> str:
    """A guest that prints its environment, each variable ended by NUL, then NUL, then its standard input.

    Two counters, a global and a byte of memory, appear in a header. The guest writes its arguments to standard error,
    then runs `ending`.
    """
    head = b"content-type: application/octet-stream\nx-counters: 00\n\n"
    counters = 1024 + head.index(b"00")
    return f"""(module {IMPORTS}
 (memory (export "memory") 8)
 (global $counter (mut i32) (i32.const 48))
 (data (i32.const 1024) {guests.wat_string(head)})
 {guests.WRITE}
 (func (export "_start")
  (global.set $counter (i32.add (global.get $counter) (i32.const 1)))
  (i32.store8 (i32.const {counters}) (global.get $counter))
  (i32.store8 (i32.const {counters + 1}) (i32.add (i32.load8_u (i32.const {counters + 1})) (i32.const 1)))
  (drop (call $args_sizes_get (i32.const 16) (i32.const 20)))
  (drop (call $args_get (i32.const 65536) (i32.const 131072)))
  (call $write (i32.const 2) (i32.const 131072) (i32.load (i32.const 20)))
  (call $write (i32.const 1) (i32.const 1024) (i32.const {len(head)}))
  (drop (call $environ_sizes_get (i32.const 16) (i32.const 20)))
  (drop (call $environ_get (i32.const 65536) (i32.const 131072)))
  (call $write (i32.const 1) (i32.const 131072) (i32.add (i32.load (i32.const 20)) (i32.const 1)))
  (loop $more
   (i32.store (i32.const 0) (i32.const 262144)) (i32.store (i32.const 4) (i32.const 65536))
   (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
   (if (i32.load (i32.const 8)) (then
    (call $write (i32.const 1) (i32.const 262144) (i32.load (i32.const 8)))
    (br $more))))
  {ending}))"""


def repeats_its_arguments(ending: str) -> str:
    """A guest that writes its arguments to both outputs, without a header block, then runs `ending`."""
    return f"""(module {IMPORTS}
 (memory (export "memory") 1)
 (func (export "_start")
  (drop (call $args_sizes_get (i32.const 16) (i32.const 20)))
  (drop (call $args_get (i32.const 1024) (i32.const 4096)))
  (i32.store (i32.const 0) (i32.const 4096)) (i32.store (i32.const 4) (i32.load (i32.const 20)))
  (drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
  (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
  {ending}))"""


ENDLESSLY = """(loop $forever
    (call $write (i32.const 1) (i32.const 131072) (i32.const 65536)) (br $forever))"""
FOREVER = "(loop $forever (br $forever))"
CUT_OFF = {"/cut/trap": "unreachable", "/cut/loop": FOREVER, "/cut/endless": ENDLESSLY}
"""Guests that print everything and then fail, so that a started response is cut off."""
BROKEN = {"/broken/trap": "unreachable", "/broken/loop": FOREVER, "/broken/early": ""}
"""Guests that fail before their header block is complete."""
STATUS = {
    "/show": {200},
    "/cut/trap": {200, 500},
    "/cut/loop": {200, 504},
    "/cut/endless": {200, 502},
    "/broken/trap": {500},
    "/broken/loop": {504},
    "/broken/early": {502},
}
ROUTES = tuple(STATUS)

CONFIG = """
[limits]
time = "10s"
stdout = "256KiB"
concurrency = 50
"""


def named(route: str, loop_time: str = "1s") -> str:
    """A `[[module]]` whose route has the guest's name; `loop_time` is the time of a guest that loops."""
    limits = {"time": loop_time} if route.endswith("loop") else {}
    return guest(f"{route}/...", route.strip("/").replace("/", "-"), **limits)


@pytest.fixture(scope="module", autouse=True, params=["hot", "public"])
def pythonpath(request: pytest.FixtureRequest, other_release: str) -> Iterator[str]:
    """Runs every test on both backends of the sandbox."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "public":
            patch.setenv("PYTHONPATH", other_release)
        yield os.environ.get("PYTHONPATH", "")


@pytest.fixture(scope="module", params=["switching as usual", "switching each microsecond"])
def crowd(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, cache: Path, pythonpath: str
) -> Iterator[Server]:
    """A server for all ROUTES."""
    directory = tmp_path_factory.mktemp("crowd")
    texts = {"/show": shows_everything()}
    texts |= {route: shows_everything(ending) for route, ending in CUT_OFF.items()}
    texts |= {route: repeats_its_arguments(ending) for route, ending in BROKEN.items()}
    for route, text in texts.items():
        (directory / f"{route.strip('/').replace('/', '-')}.wat").write_text(text)
    environment = {}
    loop_time = "1s"
    if request.param == "switching each microsecond":
        # Long enough to begin on the public API, where threads that switch each microsecond take their time.
        loop_time = "2s"
        (directory / "sitecustomize.py").write_text("import sys\nsys.setswitchinterval(1e-6)\n")
        environment["PYTHONPATH"] = os.pathsep.join([str(directory), pythonpath]).rstrip(":")
    config = CONFIG + "".join(named(route, loop_time) for route in ROUTES)
    with running(directory, config, cache=cache, environment=environment) as server:
        yield server


@dataclass(frozen=True, slots=True)
class Asked:
    """One request; its path, query, header and body hold `token`, which no other request has."""

    token: str
    route: str
    header: str
    body: bytes

    @property
    def content(self) -> bytes:
        """The request body."""
        return self.token.encode() + self.body + self.token.encode()


@dataclass(frozen=True, slots=True)
class Answered:
    """One response, possibly cut off."""

    status: int
    headers: httpx.Headers
    body: bytes
    is_whole: bool


TOKEN = re.compile(rb"tk[0-9a-z]{12}kt")
field_values = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=200)
bodies = st.one_of(st.binary(max_size=2000), st.builds(bytes.__mul__, st.binary(min_size=1), st.integers(1, 20_000)))
routes = st.sampled_from(ROUTES + ("/show",) * 14)


def new_tokens() -> list[str]:
    """PARALLEL new tokens."""
    prefix = secrets.token_hex(4)
    return [f"tk{prefix}{number:04d}kt" for number in range(PARALLEL)]


@st.composite
def crowds(draw: st.DrawFn) -> list[Asked]:
    """A strategy for concurrent requests."""
    tokens = new_tokens()
    return [Asked(token, draw(routes), draw(field_values).strip(" "), draw(bodies)[:200_000]) for token in tokens]


async def ask(client: httpx.AsyncClient, asked: Asked) -> Answered:
    """The response to one request, possibly cut off."""
    url, headers = f"{asked.route}/{asked.token}?{asked.token}", {"x-mine": (asked.token + asked.header).encode()}
    body = b""
    async with client.stream("POST", url, content=asked.content, headers=headers) as response:  # type: ignore[arg-type]
        is_whole = False
        try:
            async for piece in response.aiter_raw():
                body += piece
            is_whole = True
        except httpx.RemoteProtocolError:
            pass
    return Answered(response.status_code, response.headers, body, is_whole)


async def ask_all(server: Server, crowd: list[Asked]) -> list[Answered]:
    """The responses to concurrent requests."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=server.url, limits=limits, timeout=30, trust_env=False) as client:
        return await asyncio.gather(*(ask(client, asked) for asked in crowd))


@settings(
    max_examples=8,
    phases=[Phase.generate],
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(requests=crowds())
def test_parallel_requests_never_see_each_other(crowd: Server, requests: list[Asked]) -> None:
    responses = asyncio.run(ask_all(crowd, requests))
    ids = [response.headers["x-request-id"] for response in responses]
    assert len(set(ids)) == PARALLEL
    for asked, answered in zip(requests, responses, strict=True):
        assert answered.status in STATUS[asked.route]
        if answered.status == 200:
            assert answered.is_whole == (asked.route == "/show")
            check_own(asked, answered)
        else:
            assert not TOKEN.search(answered.body)


def check_own(asked: Asked, answered: Answered) -> None:
    """Fails unless the response shows this request, all of it, and no other."""
    assert answered.headers["x-counters"] == "11"
    variables, separator, rest = answered.body.partition(b"\0\0")
    assert separator
    environ = dict(variable.split(b"=", 1) for variable in variables.split(b"\0"))
    token = asked.token.encode()
    assert environ[b"HTTP_X_MINE"] == (asked.token + asked.header).encode()
    assert environ[b"PATH_INFO"] == b"/" + token
    assert environ[b"QUERY_STRING"] == token
    assert environ[b"CONTENT_LENGTH"] == b"%d" % len(asked.content)
    assert environ[b"X_REQUEST_ID"] == answered.headers["x-request-id"].encode()
    assert rest.startswith(asked.content)
    assert answered.is_whole <= (rest == asked.content)
    assert set(TOKEN.findall(answered.body)) <= {token}


def test_the_log_gives_each_line_to_its_request(crowd: Server) -> None:
    requests = [
        Asked(token, route, "", b"") for token, route in zip(new_tokens(), itertools.cycle(ROUTES), strict=False)
    ]
    ids = {
        asked.token: answered.headers["x-request-id"]
        for asked, answered in zip(requests, asyncio.run(ask_all(crowd, requests)), strict=True)
    }
    late = 0
    for token, request_id in ids.items():
        access = crowd.wait_for_log(rf"POST \S+ status=.* id={request_id}\b")[0]
        if " status=504 " in access and " guest_ms=0.0 " in access:
            late += 1  # on a busy machine a guest with a second of time may have had no turn in it
        else:
            crowd.wait_for_log(rf"guest: \S*/{token}\\x00{token}\\x00 route=\S+ id={request_id}\n")
        lines = [line for line in crowd.log.splitlines() if token in line]
        assert [line for line in lines if not line.endswith(f" id={request_id}")] == []
    assert late < len(ids) / 4


def test_nothing_is_left_from_one_request_to_the_next(crowd: Server) -> None:
    counters = [crowd.get("/show").headers["x-counters"] for _ in range(20)]
    assert counters == ["11"] * 20


def test_the_environment_of_the_server_stays_with_the_server(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "show.wat").write_text(shows_everything())
    with running(tmp_path, named("/show"), cache=cache, environment={"SECRET": "do-not-tell"}) as server:
        environ = server.get("/show").content.partition(b"\0\0")[0]
    names = {variable.partition(b"=")[0] for variable in environ.split(b"\0")}
    assert b"do-not-tell" not in environ
    assert not names & {b"SECRET", b"PATH", b"HOME", b"PWD", b"USER"}


# Files of the host

_BADF, _NOENT, _NOTCAPABLE, _PERM, _ACCES, _LOOP = 8, 44, 76, 63, 2, 32


def opens(path: str, descriptor: int, *, follow: bool = True, flags: int = 0) -> str:
    """A guest that opens `path` relative to a directory's descriptor, and responds with the status 200 + errno; 200 is
    success."""
    text = path.encode()
    open_file = _IMPORT.format("path_open", "i32 i32 i32 i32 i32 i64 i64 i32 i32")
    return guests.says(
        b"",
        imports=f"{open_file} (data (i32.const 4096) {guests.wat_string(text)})"
        ' (data (i32.const 2048) "status: 000\\0a\\0a")',
        then=f"""(i32.store (i32.const 64) (i32.add (i32.const 200) (call $path_open (i32.const {descriptor})
       (i32.const {int(follow)}) (i32.const 4096) (i32.const {len(text)}) (i32.const {flags})
       (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 128))))
      (i32.store8 (i32.const 2056) (i32.add (i32.const 48) (i32.div_u (i32.load (i32.const 64)) (i32.const 100))))
      (i32.store8 (i32.const 2057) (i32.add (i32.const 48)
       (i32.rem_u (i32.div_u (i32.load (i32.const 64)) (i32.const 10)) (i32.const 10))))
      (i32.store8 (i32.const 2058) (i32.add (i32.const 48) (i32.rem_u (i32.load (i32.const 64)) (i32.const 10))))
      (call $write (i32.const 1) (i32.const 2048) (i32.const 13))""",
    )


DESCRIPTORS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 100)
PATHS = {
    "inside": {0},
    "absent": {_NOENT},
    "../outside": {_NOTCAPABLE, _PERM},
    "sub/../../outside": {_NOTCAPABLE, _PERM},
    "/etc/passwd": {_NOTCAPABLE, _PERM},
    "absolute-link": {_NOTCAPABLE, _PERM},
    "relative-link": {_NOTCAPABLE, _PERM},
    "link-to-directory/passwd": {_NOTCAPABLE, _PERM},
}
"""Paths that a guest opens in its volume, and the error numbers that it may get."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, cache: Path, pythonpath: str) -> Iterator[tuple[Server, Path]]:
    """A server for guests that open one path each, and its directory with the volumes."""
    directory = tmp_path_factory.mktemp("files")
    volume = directory / "volume"
    (volume / "sub").mkdir(parents=True)
    (volume / "inside").touch()
    (directory / "outside").touch()
    (volume / "absolute-link").symlink_to("/etc/passwd")
    (volume / "relative-link").symlink_to("../outside")
    (volume / "link-to-directory").symlink_to("/etc")
    config = ""
    for descriptor in DESCRIPTORS:
        (directory / f"descriptor-{descriptor}.wat").write_text(opens("etc/passwd", descriptor))
        config += module(f"/descriptor/{descriptor}", f"descriptor-{descriptor}.wat")
    for number, path in enumerate(PATHS):
        (directory / f"path-{number}.wat").write_text(opens(path, 3))
        config += module(f"/path/{number}", f"path-{number}.wat", volumes={"/data": "volume"})
    (directory / "creates.wat").write_text(opens("made", 3, flags=1))
    for name, is_read_only in (("writable", False), ("read-only", True)):
        (directory / name).mkdir()
        config += module(f"/{name}", "creates.wat", volumes={"/data": {"path": name, "read_only": is_read_only}})
    with running(directory, config, cache=cache, environment={"PYTHONPATH": pythonpath}) as server:
        yield server, directory


def errno(server: Server, path: str) -> int:
    """The error number of a guest made by `opens`."""
    return server.get(path).status_code - 200


@pytest.mark.parametrize("descriptor", DESCRIPTORS)
def test_a_guest_without_volumes_has_no_directory_but_dev(files: tuple[Server, Path], descriptor: int) -> None:
    """Descriptor 3 is `/dev`, which holds no file of that name."""
    assert errno(files[0], f"/descriptor/{descriptor}") in ({_NOENT} if descriptor == 3 else {_BADF, 54})


@pytest.mark.parametrize(("path", "expected"), PATHS.items())
def test_a_guest_stays_in_its_volume(files: tuple[Server, Path], path: str, expected: set[int]) -> None:
    assert errno(files[0], f"/path/{list(PATHS).index(path)}") in expected


@pytest.mark.parametrize(("name", "is_made"), [("writable", True), ("read-only", False)])
def test_a_read_only_volume_stays_as_it_is(files: tuple[Server, Path], name: str, is_made: bool) -> None:
    server, directory = files
    found = errno(server, f"/{name}")
    assert (found == 0) == is_made
    assert (directory / name / "made").exists() == is_made
