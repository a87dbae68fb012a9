"""Static directories: served files, their media types, and files that are not served."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import httpx
import pytest

from tests.conftest import Server, running
from tests.support import guests
from tests.support.config import config, module
from tests.support.error_body import error_body
from wagi_gateway.config.file import read_config
from wagi_gateway.errors import StartupError
from wagi_gateway.http.preconditions import parse_date
from wagi_gateway.site.load import load

CONFIG = config(
    module("/site/app/...", "../hello.wat"),
    module("/to-file", "../redirect.wat"),
    cache={"directory": "../cache"},
    static=[
        {"route": "/site/...", "directory": "files", "cache_control": "public, max-age=60"},
        {"route": "/...", "directory": "root"},
        {"route": "/latin/...", "directory": "charsets", "charset": "iso-8859-1"},
        {"route": "/charsets/...", "directory": "charsets"},
        {"route": "/[files]+é/...", "directory": "charsets"},
    ],
)
TEXT = b"0123456789" * 20_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a `modules.toml` with files beside it."""
    outside = tmp_path_factory.mktemp("static")
    folder = outside / "site"
    files = folder / "files"
    for directory in ("dir", "empty", "app", ".git", ".well-known"):
        (files / directory).mkdir(parents=True)
    (folder / "root").mkdir()
    (folder / "charsets").mkdir()
    for name in ("a.html", "a.css", "a.js", "a.txt", "a.xml", "a.json", "a.svg", "a.wasm"):
        (folder / "charsets" / name).write_bytes(b"\xe9")
    (folder / "root" / "healthz").write_text("not this one")
    (outside / "secret").write_text("secret")
    (outside / "hello.wat").write_text(guests.HELLO)
    (outside / "redirect.wat").write_text(guests.says(b"Location: /site/text.txt?q\n\n"))
    (outside / "cache").mkdir(mode=0o700)
    for name, data in {
        "text.txt": TEXT,
        "style.css": b"a{}",
        "page": b"?",
        "m.wasm": b"\0asm",
        "data.tar.gz": b"\x1f\x8b",
        "empty.txt": b"",
        "dir/index.html": b"<p>dir",
        "dir/a b+é.txt": b"named",
        "app/file.txt": b"shadowed",
        ".git/config": b"secret",
        ".env": b"secret",
        ".well-known/security.txt": b"Contact: x",
    }.items():
        (files / name).write_bytes(data)
    (files / "inside").symlink_to("dir/index.html")
    (files / "outside").symlink_to(outside / "secret")
    (files / "up").symlink_to("../..")
    (files / "loop").symlink_to("loop")
    os.mkfifo(files / "pipe")
    (folder / "modules.toml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def server(site: Path) -> Iterator[Server]:
    with running(site, site / "modules.toml") as server:
        yield server


def get(server: Server, path: str, method: str = "GET", **fields: str) -> httpx.Response:
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    return server.client.request(method, server.url + path, headers=headers)


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("/site/text.txt", TEXT, "text/plain; charset=utf-8"),
        ("/site/text.txt?a=b", TEXT, "text/plain; charset=utf-8"),
        ("/site/%74ext.txt", TEXT, "text/plain; charset=utf-8"),
        ("/site/dir/../text.txt", TEXT, "text/plain; charset=utf-8"),
        ("/site/style.css", b"a{}", "text/css; charset=utf-8"),
        ("/site/page", b"?", "application/octet-stream"),
        ("/site/m.wasm", b"\0asm", "application/wasm"),
        ("/site/data.tar.gz", b"\x1f\x8b", "application/gzip"),
        ("/site/empty.txt", b"", "text/plain; charset=utf-8"),
        ("/site/dir/", b"<p>dir", "text/html; charset=utf-8"),
        ("/site/inside", b"<p>dir", "text/html; charset=utf-8"),
        ("/site/dir/a%20b+%C3%A9.txt", b"named", "text/plain; charset=utf-8"),
        ("/site/.well-known/security.txt", b"Contact: x", "text/plain; charset=utf-8"),
    ],
)
def test_files(server: Server, path: str, body: bytes, kind: str) -> None:
    answer = get(server, path)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, body, kind)
    assert answer.headers["content-length"] == str(len(body))
    assert answer.headers["cache-control"] == "public, max-age=60"
    assert answer.headers["x-content-type-options"] == "nosniff"
    head = get(server, path, "HEAD")
    assert (head.status_code, head.content) == (200, b"")
    same = ("content-length", "content-type", "etag", "last-modified")
    assert [head.headers[name] for name in same] == [answer.headers[name] for name in same]


def raw(server: Server, target: str) -> bytes:
    """The status line and body for a request target that is sent unchanged."""
    return server.exchange(f"GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode("latin-1"))


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/site/none", 404),
        ("/site/empty/", 404),
        ("/site/empty", 404),
        ("/site/text.txt/", 404),
        ("/site/text.txt/x", 404),
        ("/site//text.txt", 404),
        ("/site/dir//", 404),
        ("/site/.env", 404),
        ("/site/%2eenv", 404),
        ("/site/.git/config", 404),
        ("/site/dir%2Findex.html", 404),
        ("/site/..%2f..%2fsecret", 400),
        ("/site/%2e%2e/%2e%2e/secret", 400),
        ("/site/../../secret", 400),
        ("/site/..%5c..%5csecret", 404),
        ("/site/\\..\\secret", 404),
        ("/site/text.txt%00", 400),
        ("/site/text.txt%00.css", 400),
        ("/site/%c0%ae%c0%ae/secret", 400),
        ("/site/%252e%252e/secret", 404),
        ("/site//etc/passwd", 404),
        ("/site/" + "x" * 300, 404),
        ("/site/" + "x/" * 3000, 404),
        ("/site/outside", 404),
        ("/site/up/secret", 404),
        ("/site/up/site/modules.toml", 404),
        ("/site/loop", 404),
        ("/site/pipe", 404),
        ("/site/pipe/", 404),
    ],
)
def test_no_files(server: Server, target: str, status: int) -> None:
    answer = raw(server, target)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:100]
    assert b"secret" not in answer
    assert "Traceback" not in server.log


def obey_modes() -> None:
    """Drops root's capabilities to read every file."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability)  # PR_CAPBSET_DROP


def test_what_may_not_be_read_is_not_there(tmp_path: Path, cache: Path) -> None:
    site_of(tmp_path, "files")
    (tmp_path / "files" / "a").write_text("x")
    (tmp_path / "files" / "a").chmod(0)
    with running(tmp_path, tmp_path / "modules.toml", cache=cache, preexec=obey_modes) as server:
        assert get(server, "/files/a").status_code == 404
        server.wait_for_log("Permission denied")


@pytest.mark.parametrize(
    ("path", "location"),
    [("/site/dir", "/site/dir/"), ("/site/dir?a=b&c", "/site/dir/?a=b&c"), ("/site/./dir", "/site/dir/")],
)
def test_a_directory_has_a_slash(server: Server, path: str, location: str) -> None:
    answer = raw(server, path)
    assert answer.startswith(b"HTTP/1.1 307 ")
    assert f"\r\nlocation: {location}\r\n".encode() in answer


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
def test_only_get_and_head(server: Server, method: str) -> None:
    answer = get(server, "/site/text.txt", method)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert get(server, "/site/style.css").content == b"a{}"


def test_a_post_with_a_body_keeps_the_connection(server: Server) -> None:
    assert server.post("/site/text.txt", b"x" * 100_000).status_code == 405
    assert get(server, "/site/style.css").content == b"a{}"


def test_what_is_known_is_not_sent_again(server: Server, site: Path) -> None:
    first = get(server, "/site/text.txt")
    etag, modified = first.headers["etag"], first.headers["last-modified"]
    for fields in (
        {"if_none_match": etag},
        {"if_none_match": f'"x", W/{etag}'},
        {"if_none_match": "*"},
        {"if_modified_since": modified},
    ):
        answer = get(server, "/site/text.txt", **fields)
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
        assert answer.headers["cache-control"] == "public, max-age=60"
    for fields in (
        {"if_none_match": '"other"', "if_modified_since": modified},
        {"if_modified_since": formatdate(1_000_000_000, usegmt=True)},
        {"if_modified_since": "soon"},
    ):
        assert get(server, "/site/text.txt", **fields).status_code == 200
    os.utime(site / "files" / "text.txt", (2_000_000_000, 2_000_000_000))
    assert get(server, "/site/text.txt", if_none_match=etag).status_code == 200


@pytest.mark.parametrize(
    ("asked", "status", "body"),
    [
        ("bytes=0-9", 206, TEXT[:10]),
        ("bytes=199990-", 206, TEXT[-10:]),
        ("bytes=-5", 206, TEXT[-5:]),
        ("bytes=199990-300000", 206, TEXT[-10:]),
        ("Bytes=0-0", 206, b"0"),
        ("bytes=200000-", 416, None),
        ("items=0-9", 200, TEXT),
        ("bytes=9-0", 200, TEXT),
        ("bytes=a-b", 200, TEXT),
        ("bytes=", 200, TEXT),
        ("bytes=0-9, x", 200, TEXT),
        ("bytes=" + "0-1," * 200 + "0-1", 200, TEXT),
        ("bytes=" + "9" * 5000 + "-", 200, TEXT),
    ],
)
def test_ranges(server: Server, asked: str, status: int, body: bytes | None) -> None:
    answer = get(server, "/site/text.txt", range=asked)
    assert answer.status_code == status
    if body is None:
        assert answer.headers["content-range"] == "bytes */200000"
        assert answer.text == error_body("Range Not Satisfiable", answer.headers["x-request-id"])
    else:
        assert answer.content == body


def test_several_ranges(server: Server) -> None:
    answer = get(server, "/site/text.txt", range="bytes=0-1,5-6")
    assert answer.status_code == 206
    assert answer.headers["content-type"].startswith("multipart/byteranges; boundary=")
    assert answer.headers["content-length"] == str(len(answer.content))
    assert (b"\r\n\r\n01\r\n" in answer.content, b"\r\n\r\n56\r\n" in answer.content) == (True, True)


def test_a_range_of_another_version_is_not_sent(server: Server) -> None:
    assert get(server, "/site/text.txt", range="bytes=0-9", if_range='"old"').content == TEXT


@pytest.fixture(scope="module")
def dated(site: Path) -> str:
    """The path of a file of 10 bytes that was last modified at DATE."""
    (site / "files" / "dated.txt").write_bytes(b"0123456789")
    os.utime(site / "files" / "dated.txt", (DATE, DATE))
    return "/site/dated.txt"


DATE = 1_700_000_000
AT, BEFORE = formatdate(DATE, usegmt=True), formatdate(DATE - 1, usegmt=True)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"if_match": '"old"', "range": "bytes=0-0"}, 412),
        ({"if_match": "ETAG", "range": "bytes=0-0"}, 206),
        ({"if_match": "W/ETAG"}, 412),
        ({"if_match": "*"}, 200),
        ({"if_unmodified_since": BEFORE, "range": "bytes=0-0"}, 412),
        ({"if_unmodified_since": AT}, 200),
        ({"if_match": "ETAG", "if_unmodified_since": BEFORE}, 200),
        ({"if_match": '"old"', "if_none_match": "ETAG"}, 412),
        ({"if_none_match": "W/ETAG", "range": "bytes=0-0"}, 304),
        ({"if_none_match": '"old"', "if_modified_since": AT}, 200),
        ({"if_modified_since": AT}, 304),
        ({"if_modified_since": BEFORE}, 200),
        ({"if_range": "ETAG", "range": "bytes=0-0"}, 206),
        ({"if_range": "W/ETAG", "range": "bytes=0-0"}, 200),
        ({"if_range": '"old"', "range": "bytes=20-"}, 200),
        ({"if_range": AT, "range": "bytes=0-0"}, 206),
        ({"if_range": BEFORE, "range": "bytes=0-0"}, 200),
        ({"if_range": "ETAG"}, 200),
        ({"range": "bytes=0-0, 20-"}, 206),
        ({"range": "bytes=20-"}, 416),
    ],
    ids=str,
)
def test_rfc_9110_section_13(server: Server, dated: str, method: str, fields: dict[str, str], status: int) -> None:
    etag = get(server, dated).headers["etag"]
    answer = get(server, dated, method, **{name: value.replace("ETAG", etag) for name, value in fields.items()})
    if method == "HEAD" and status in (206, 416):
        status = 200  # Range is for GET
    assert answer.status_code == status
    if status < 400:
        assert (answer.headers["etag"], answer.headers["cache-control"]) == (etag, "public, max-age=60")
    if status == 206:
        assert (answer.content, answer.headers["content-range"]) == (b"0", "bytes 0-0/10")


@pytest.mark.parametrize(
    "fields", [{"if_match": '"a"'}, {"if_none_match": "*"}, {"if_unmodified_since": BEFORE}], ids=str
)
def test_preconditions_do_not_change_other_errors(server: Server, fields: dict[str, str]) -> None:
    """RFC 9110 section 13.2.1."""
    assert get(server, "/site/none", **fields).status_code == 404
    assert get(server, "/site/style.css", "POST", **fields).status_code == 405


@pytest.mark.parametrize("modified", [0, 1, 315_532_800, 318_211_200, DATE])
def test_a_replaced_file_is_sent_anew(server: Server, site: Path, modified: int) -> None:
    """Reproducible images give every file one modification time (0, 1, 1980)."""
    answers = []
    for data in (b"one", b"two"):
        (site / "files" / "new").write_bytes(data)
        os.utime(site / "files" / "new", (modified, modified))
        (site / "files" / "new").rename(site / "files" / "replaced.txt")
        answers.append(get(server, "/site/replaced.txt"))
    first, second = answers
    assert second.headers["etag"] != first.headers["etag"]
    assert get(server, "/site/replaced.txt", if_none_match=first.headers["etag"]).content == b"two"
    assert get(server, "/site/replaced.txt", if_match=first.headers["etag"]).status_code == 412
    if modified == DATE:
        assert first.headers["last-modified"] == AT
    else:  # no client can revalidate by a date that never changes
        assert "last-modified" not in first.headers
        date = formatdate(modified, usegmt=True)
        assert get(server, "/site/replaced.txt", if_modified_since=date).content == b"two"


def test_last_modified_is_not_in_the_future(server: Server, site: Path) -> None:
    (site / "files" / "future.txt").write_bytes(b"x")
    os.utime(site / "files" / "future.txt", (2**32, 2**32))
    answer = get(server, "/site/future.txt")
    modified, date = (parse_date(answer.headers[name].encode()) for name in ("last-modified", "date"))
    assert modified is not None
    assert date is not None
    assert modified <= date + 1  # uvicorn's Date is of the last second


@pytest.mark.parametrize("name", ["a.html", "a.css", "a.js", "a.txt", "a.xml", "a.json", "a.svg", "a.wasm"])
def test_a_file_that_is_not_utf_8_is_not_called_so(server: Server, name: str) -> None:
    kind = get(server, f"/charsets/{name}").headers["content-type"]
    assert ";" not in kind
    is_text = kind.startswith("text/") or kind.endswith("/javascript")
    assert get(server, f"/latin/{name}").headers["content-type"] == kind + "; charset=iso-8859-1" * is_text


@pytest.mark.parametrize("path", ["/%5bfiles%5D%2B%C3%a9/a.txt", "/[files]%2b%c3%a9/a%2Etxt"])
def test_a_prefix_with_characters_raw_or_encoded(server: Server, path: str) -> None:
    assert raw(server, path).startswith(b"HTTP/1.1 200")


def test_the_most_specific_route_wins(server: Server) -> None:
    assert get(server, "/site/app/file.txt").content == b"hello world\n"
    assert get(server, "/healthz").content == b"OK"
    assert get(server, "/siteX").status_code == 404


def test_a_module_may_lead_to_a_file(server: Server) -> None:
    assert get(server, "/to-file").content == TEXT
    assert server.post("/to-file", b"x").content == TEXT


def test_curl_and_http_1_0(server: Server) -> None:
    command = ["curl", "-sS", "--http1.0", server.url + "/site/text.txt"]
    assert subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout == TEXT


def test_the_log(server: Server) -> None:
    get(server, "/site/style.css?log=1")
    server.wait_for_log(
        r"INFO +GET /site/style.css\?log=1 status=200 route=/site/... bytes=3 ms=[\d.]+ client=127.0.0.1 id=\w+\n"
    )
    get(server, "/site/nothing?log=2")
    server.wait_for_log(
        r'GET /site/nothing\?log=2 status=404 route=/site/... bytes=41 .* reason="there is no such file"'
    )
    get(server, "/site/style.css?log=3", "POST")
    server.wait_for_log(r"POST /site/style.css\?log=3 status=405 ")


def test_a_client_that_leaves(server: Server, site: Path) -> None:
    large = site / "files" / "large"
    with large.open("wb") as file:
        file.truncate(2**30)
    with server.connect() as connection:
        connection.sendall(b"GET /site/large HTTP/1.1\r\nHost: h\r\n\r\n")
        assert connection.recv(100)
    server.wait_for_log('GET /site/large status=200 .*reason="the client went away; the response was cut off"')


def test_a_file_that_grows_is_sent_as_long_as_it_was(server: Server, site: Path) -> None:
    growing, stop = site / "files" / "growing", threading.Event()
    growing.write_bytes(b"x" * 10_000_000)

    def grow() -> None:
        with growing.open("ab", buffering=0) as file:
            while not stop.is_set():
                file.write(b"y" * 10)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        for _ in range(5):
            answer = get(server, "/site/growing")
            assert answer.headers["content-length"] == str(len(answer.content))
    finally:
        stop.set()
        writer.join()
        growing.unlink()
    assert "Traceback" not in server.log


def test_a_link_that_comes_in_between_leads_nowhere(site: Path) -> None:
    """A thread replaces the directory above a file by a link out of the root, again and again."""
    files, outside = site / "files", site.parent
    (files / "swap").mkdir()
    (files / "swap" / "secret").write_text("public")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            (files / "swap").rename(files / "away")
            (files / "swap").symlink_to(outside)
            (files / "swap").unlink()
            (files / "away").rename(files / "swap")

    loaded = load(read_config(site / "modules.toml"))
    directory = next(directory for pattern, directory in loaded.static if pattern.text == "/site/...")
    swapping = threading.Thread(target=swap)
    swapping.start()
    seen = set()
    try:
        for _ in range(3000):
            try:
                file = directory._open("swap/secret", is_directory=False)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
                seen.add(type(error).__name__)
            else:
                assert file
                seen.add(os.read(file.descriptor, 100).decode())
                os.close(file.descriptor)
    finally:
        stop.set()
        swapping.join()
        loaded.close()
    assert seen <= {"public", "NotFound"}


def site_of(folder: Path, directory: str, route: str = "/files/...", more: str = "") -> Path:
    (folder / "hello.wat").write_text(guests.HELLO)
    (folder / "files").mkdir(exist_ok=True)
    path = folder / "modules.toml"
    static = [{"route": route, "directory": directory}]
    path.write_text(more + config(module("/hello/...", "hello.wat"), static=static))
    return path


@pytest.mark.parametrize(
    ("directory", "route", "more", "problem"),
    [
        ("gone", "/a/...", "", '[[static]] 1 (/a/...): directory = "gone": cannot be read: No such file or directory'),
        ("hello.wat", "/a/...", "", '[[static]] 1 (/a/...): directory = "hello.wat": cannot be read: Not a directory'),
        (".", "/a/...", "", 'directory = ".": it holds this file, which everybody could read'),
        ("files", "/hello/...", "", "the route /hello/... is taken by [[module]] 1; give it another one"),
        ("files", "/a/../...", "", 'route = "/a/../...": a route must not contain'),
        ("files", "/a", "", 'route = "/a": a directory answers everything below a path; write "/a/..."'),
        ("files", "/a/...", '[cache]\ndirectory = "files/cache"\n', "files/cache, which everybody could read"),
        ("files", "/a/...", 'auth_file = "files/auth.json"\n', "it holds auth_file, which everybody could read"),
    ],
)
def test_mistakes(tmp_path: Path, directory: str, route: str, more: str, problem: str) -> None:
    with pytest.raises(StartupError) as error:
        load(read_config(site_of(tmp_path, directory, route, more), {"cache": {}}))
    assert problem in str(error.value)


def test_two_directories_at_one_route(tmp_path: Path) -> None:
    path = site_of(tmp_path, "files")
    path.write_text(path.read_text() + '[[static]]\nroute = "/files/..."\ndirectory = "files"\n')
    with pytest.raises(StartupError, match=r"\[\[static\]\] 2 .*the route /files/... is taken by \[\[static\]\] 1"):
        load(read_config(path))


@pytest.mark.parametrize("command", ["check", "routes"])
def test_commands_show_them(tmp_path: Path, cache: Path, command: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "wagi_gateway", command, site_of(tmp_path, "files"), "--cache-dir", cache],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert result.returncode == 0
    _, route, shown = result.stdout.partition("/files/...")
    assert route
    assert "files" in shown


def test_a_file_there_is_no_descriptor_for(tmp_path: Path, cache: Path) -> None:
    site_of(tmp_path, "files")
    (tmp_path / "files" / "a").write_text("x")
    with running(tmp_path, tmp_path / "modules.toml", cache=cache) as server:
        assert get(server, "/files/a").status_code == 200
        usual = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (0, usual[1]))
        answer = get(server, "/files/a")
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, usual)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert get(server, "/files/a").status_code == 200
