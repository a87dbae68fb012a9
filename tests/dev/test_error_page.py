"""Pages in the place of error responses: for browsers alone, with everything escaped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import guests
from tests.support.config import guest
from tests.support.recordings import head, recording
from wagi_gateway.config.file import read_config
from wagi_gateway.dev.builds import BuildResult, Builds
from wagi_gateway.dev.error_page import ErrorPages
from wagi_gateway.dev.live import SCRIPT, LiveReload
from wagi_gateway.errors import BadOutput, MethodNotAllowed, NotFound, Problem
from wagi_gateway.site.load import load
from wagi_gateway.site.site import Site

HTML = [(b"accept", b"text/html,*/*;q=0.8")]
HOSTILE = b"<script>alert(1)</script>\x00"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "m.wat").write_text(guests.HELLO)
    (tmp_path / "modules.toml").write_text(guest("/hello", "m") + guest("/docs/...", "m"))
    return load(read_config(tmp_path / "modules.toml"))


@pytest.fixture
def builds() -> Builds:
    return Builds(lambda *_: None)


@pytest.fixture
def pages(tmp_path: Path, builds: Builds) -> ErrorPages:
    return ErrorPages(tmp_path, "http://127.0.0.1:3001", builds, LiveReload())


@pytest.mark.parametrize(
    ("accept", "is_page"),
    [
        (b"text/html", True),
        (b"application/json, text/html;q=0.5", True),
        (b"*/*", False),
        (b"text/html;q=0", False),
        (b"text/html; q=0.0, */*", False),
        (b"text/htmlx", False),
    ],
)
def test_a_page_is_for_clients_that_accept_html(pages: ErrorPages, site: Site, accept: bytes, is_page: bool) -> None:
    one = recording(head(fields=[(b"accept", accept)]))
    assert (pages.of_error(one, BadOutput("x"), site) is not None) == is_page


@pytest.mark.parametrize(
    ("fields", "is_page"),
    [
        ([], True),
        ([(b"host", b"LOCALHOST")], True),
        ([(b"host", b"127.0.0.1:3000")], True),
        ([(b"host", b"[::1]:3000")], True),
        ([(b"host", b"app.localhost:3000")], True),
        ([(b"host", b"evil.example:3000")], False),
        ([(b"host", b"localhost.evil.example")], False),
        ([(b"host", b"127.0.0.1.evil.example")], False),
        ([(b"host", b"")], False),
        ([(b"host", b"192.0.2.1")], False),
        ([(b"host", b"localhost"), (b"host", b"evil.example")], False),
        ([(b"host", b"a b")], False),
    ],
    ids=lambda value: b",".join(name for _, name in value).decode() if isinstance(value, list) else "",
)
def test_a_page_is_for_names_of_this_host(
    pages: ErrorPages, site: Site, builds: Builds, fields: list[tuple[bytes, bytes]], is_page: bool
) -> None:
    request = replace(head(), headers=(*fields, *HTML))
    builds.results["/hello"] = failed()
    assert (pages.of_error(recording(request), BadOutput("x"), site) is not None) == is_page
    assert (pages.of_build(request) is not None) == is_page
    assert pages.of_build(replace(head(fields=HTML), target_authority=b"evil.example")) is None


def test_reason_output_and_link_are_escaped(pages: ErrorPages, site: Site) -> None:
    one = recording(
        head(target=b"/<b>", fields=[*HTML, (b"cookie", b"a=abcdefgh")]), stdout=HOSTILE + b"abcdefgh", stderr=HOSTILE
    )
    page = pages.of_error(one, BadOutput("<i>reason</i> abcdefgh"), site)
    assert page is not None
    text = page.body.decode()
    assert page.head.status == 502
    assert "&lt;script&gt;" in text
    assert "&lt;i&gt;reason" in text
    assert f'href="http://127.0.0.1:3001/#/{one.number}"' in text
    own = pages._live.element.decode()
    assert not [bad for bad in ("<script", "<i>", "abcdefgh", "token") if bad in text.replace(own, "")]
    assert b"default-src 'none'" in dict(page.head.headers)[b"content-security-policy"]


@pytest.mark.parametrize(
    ("path", "near"), [(b"/helo", "/hello"), (b"/Hello/", "/hello"), (b"/doc", "/docs/..."), (b"/zzzzzzz", None)]
)
def test_a_404_lists_routes_with_the_nearest(pages: ErrorPages, site: Site, path: bytes, near: str | None) -> None:
    page = pages.of_error(recording(head(target=path, fields=HTML)), NotFound("no route matches"), site)
    assert page is not None
    text = page.body.decode()
    assert "/hello" in text
    assert "/docs/..." in text
    found = [item for item in text.split("<li>") if "did you mean" in item]
    assert [near in item for item in found if near] == ([True] if near else [])
    assert len(found) == (near is not None)


@pytest.mark.usefixtures("site")
def test_a_404_without_routes(pages: ErrorPages, tmp_path: Path) -> None:
    file = read_config(tmp_path / "modules.toml")
    empty = load(replace(file, config=file.config.model_copy(update={"module": ()})))
    page = pages.of_error(recording(head(fields=HTML)), NotFound("x"), empty)
    assert page is not None
    assert b"no route" in page.body


def test_fields_of_the_error_stay(pages: ErrorPages, site: Site) -> None:
    page = pages.of_error(recording(head(fields=HTML)), MethodNotAllowed("x"), site)
    assert page is not None
    assert b"allow" in dict(page.head.headers)


def failed() -> BuildResult:
    result = BuildResult("/hello", "make", code=2)
    result.add(b"\x1b[31merror:\x1b[0m <oops>")
    return result


def test_a_failed_build_is_shown_to_browsers(pages: ErrorPages, builds: Builds) -> None:
    assert pages.of_build(head(fields=HTML)) is None
    builds.results["/hello"] = failed()
    page = pages.of_build(head(fields=HTML))
    assert page is not None
    assert b"error: &lt;oops&gt;" in page.body
    assert SCRIPT.encode() in page.body
    assert pages.of_build(head()) is None
    assert pages.of_build(head("POST", fields=HTML)) is None


def test_a_configuration_that_cannot_be_loaded_is_shown(pages: ErrorPages, builds: Builds) -> None:
    builds.problems = (Problem("modules.toml", "is not valid"),)
    page = pages.of_build(head(fields=HTML))
    assert page is not None
    assert b"modules.toml: is not valid" in page.body


def test_stale_answers_are_served_on_demand(tmp_path: Path, builds: Builds) -> None:
    builds.results["/hello"] = failed()
    assert ErrorPages(tmp_path, "", builds, LiveReload(), is_stale_served=True).of_build(head(fields=HTML)) is None
