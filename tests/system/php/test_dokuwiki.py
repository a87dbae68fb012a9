"""DokuWiki's pages beside those of native php-cgi under nginx."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import running
from tests.support.config import config, module
from tests.support.php import BUILD, native_php
from tests.system.php import dokuwiki

pytestmark = pytest.mark.timeout(BUILD)
HOST = {"Host": "wiki.example"}
HEADERS = ("content-type", "location", "cache-control", "pragma", "vary", "x-ua-compatible", "content-disposition")
CHANGING = re.compile(
    r"\b[0-9a-f]{32}\b|\btok=[0-9a-f]{6}|\b1[0-9]{9}\b|\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d(:\d\d)?"
    r"|\d+ (second|minute)s? ago|<b>/[^<]*\.php</b>"
)
"""Tokens, digests, times, and the paths in warnings."""
PAGE = "/doku.php?id=playground:new"
Clients = tuple[httpx.Client, httpx.Client]


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory, php_cgi: Path, cache: Path) -> Iterator[Clients]:
    """A client of the gateway and one of nginx."""
    folder = tmp_path_factory.mktemp("wiki")
    code = dokuwiki.install(folder)
    (folder / "sessions").mkdir()
    settings = config(
        module(
            "/...",
            php_cgi,
            document_root="code",
            volumes={"/wiki": "wasm", "/sessions": {"temporary": "sessions"}},
            limits={"time": "60s"},
        )
    )
    extensions = [f"extension={name}" for name in ("ctype", "mbstring", "tokenizer")]
    native = native_php(folder, code, *extensions, f"session.save_path={folder}/sessions")
    with (
        running(folder, settings, cache=cache) as server,
        native as url,
        httpx.Client(base_url=server.url, headers=HOST, trust_env=False, timeout=120) as ours,
        httpx.Client(base_url=url, headers=HOST, trust_env=False, timeout=120) as theirs,
    ):
        yield ours, theirs


def head(response: httpx.Response) -> tuple[int, dict[str, str], list[str]]:
    """Status, headers and the names of cookies."""
    headers = {name: value for name in HEADERS if (value := response.headers.get(name))}
    return response.status_code, headers, [cookie.split("=")[0] for cookie in response.headers.get_list("set-cookie")]


def lines(response: httpx.Response) -> list[str]:
    """The lines of a page without tokens and times; of anything else the bytes."""
    if response.headers["content-type"].startswith("image/"):
        return [response.content.hex()]
    return CHANGING.sub("*", response.text).splitlines()


def check_same(ours: httpx.Response, theirs: httpx.Response) -> None:
    assert head(ours) == head(theirs)
    difference = "\n".join(difflib.unified_diff(lines(theirs), lines(ours), "native", "ours", n=0, lineterm=""))
    assert not difference, difference


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 302),
        ("/doku.php", 404),
        ("/doku.php?id=wiki:syntax", 200),
        ("/doku.php?id=wiki:syntax&do=edit", 200),
        ("/doku.php?id=wiki:welcome&do=export_raw", 200),
        ("/doku.php?id=wiki:welcome&do=revisions", 200),
        ("/doku.php/wiki/dokuwiki", 404),
        ("/lib/exe/css.php?t=dokuwiki", 200),
        ("/lib/exe/js.php?t=dokuwiki", 200),
        ("/lib/exe/fetch.php?media=wiki:dokuwiki-128.png", 200),
        ("/lib/exe/fetch.php?media=none.png", 404),
        ("/lib/exe/detail.php?media=wiki:dokuwiki-128.png", 200),
        ("/lib/exe/manifest.php", 200),
        ("/lib/tpl/dokuwiki/images/page-gradient.png", 200),
        ("/lib/tpl/dokuwiki/none.css", 404),
    ],
)
def test_a_page_is_the_same(clients: Clients, path: str, status: int) -> None:
    ours, theirs = (client.get(path) for client in clients)
    assert (ours.status_code, theirs.status_code) == (status, status)
    if status != 404 or "php" in path:  # else a page of the server's own
        check_same(ours, theirs)


def test_a_page_is_edited_saved_and_found(clients: Clients) -> None:
    for client in clients:
        form = client.get(f"{PAGE}&do=edit").text
        fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form))
        text = "====== News ======\nWebAssembly étude, //formatted//.\n"
        saved = client.post(PAGE, data=fields | {"wikitext": text, "do[save]": "1", "summary": "first"})
        assert (saved.status_code, saved.headers["location"].endswith(PAGE)) == (302, True)
        assert client.get("/lib/exe/taskrunner.php?id=playground:new").headers["content-type"] == "image/gif"
    for path in (PAGE, f"{PAGE}&do=revisions", "/doku.php?do=search&id=start&q=WebAssembly", "/feed.php"):
        ours, theirs = (client.get(path) for client in clients)
        assert "News" in ours.text or "new" in ours.text
        check_same(ours, theirs)
