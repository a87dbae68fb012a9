"""The precedence of routes, and SCRIPT_NAME and PATH_INFO (docs/spec/wagi.md W2, docs/spec/cgi.md A1)."""

from __future__ import annotations

import re
from itertools import product
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wagi_gateway.errors import BadRequest
from wagi_gateway.router import RoutePattern, Router, decode_path_info, normalize


def router(*patterns: str) -> Router[str]:
    return Router((RoutePattern(text), text) for text in patterns)


EVERYTHING = router("/", "/...", "/e/...", "/e/x/...", "/x", "/foo/", "/café/...", "/a%20b")


@pytest.mark.parametrize(
    ("path", "route", "script_name", "path_info"),
    [
        (b"/", "/", b"/", b""),
        (b"/x", "/x", b"/x", b""),
        (b"/x/", "/...", b"", b"/x/"),
        (b"/e", "/e/...", b"/e", b""),
        (b"/e/", "/e/...", b"/e", b"/"),
        (b"/e/b", "/e/...", b"/e", b"/b"),
        (b"/ebar", "/...", b"", b"/ebar"),
        (b"/e/x", "/e/x/...", b"/e/x", b""),
        (b"/e/x/y/../z", "/e/x/...", b"/e/x", b"/z"),
        (b"/e/../x", "/x", b"/x", b""),
        (b"/e/%2e%2E/x", "/x", b"/x", b""),
        (b"/e/./b", "/e/...", b"/e", b"/b"),
        (b"/e/b/..", "/e/...", b"/e", b"/"),
        (b"/%78", "/x", b"/x", b""),
        (b"//x", "/...", b"", b"//x"),
        (b"/e//b", "/e/...", b"/e", b"//b"),
        (b"/e/a%2Fb", "/e/...", b"/e", b"/a/b"),
        (b"/e%2Fx", "/...", b"", b"/e/x"),
        (b"/e/test%3brun", "/e/...", b"/e", b"/test;run"),
        (b"/e/%252e", "/e/...", b"/e", b"/%2e"),
        (b"/e/a%zz%4", "/e/...", b"/e", b"/a%zz%4"),
        (b"/e/a+b", "/e/...", b"/e", b"/a+b"),
        (b"/caf%c3%a9/z", "/café/...", "/café".encode(), b"/z"),
        (b"/caf%C3%A9", "/café/...", "/café".encode(), b""),
        (b"/a%20b", "/a%20b", b"/a b", b""),
        (b"/foo/", "/foo/", b"/foo/", b""),
        (b"/foo", "/...", b"", b"/foo"),
        (b"/E/b", "/...", b"", b"/E/b"),
        (b"/.well-known/x", "/...", b"", b"/.well-known/x"),
        (b"/e/%%32e%%32e/b", "/e/...", b"/e", b"/%2e%2e/b"),
        (b"/e/./a/../b//c%2Fd", "/e/...", b"/e", b"/b//c/d"),
        (b"/caf\xc3\xa9/z", "/café/...", "/café".encode(), b"/z"),
    ],
)
def test_match(path: bytes, route: str, script_name: bytes, path_info: bytes) -> None:
    match = EVERYTHING.match(path)
    assert match is not None
    assert (match.target, match.script_name, match.path_info) == (route, script_name, path_info)


def test_no_match() -> None:
    assert router("/a", "/b/...").match(b"/c") is None


def test_raw_path_info_is_as_sent() -> None:
    match = EVERYTHING.match(b"/e/test%3brun%2fx")
    assert match is not None
    assert match.raw_path_info == b"/test%3brun%2fx"


@pytest.mark.parametrize("character", [chr(octet) for octet in range(0x21, 0x7F) if chr(octet) not in "%/?#."])
def test_a_character_of_a_route_may_be_raw_or_encoded(character: str) -> None:
    """RFC 3986 section 3.3 lists which characters of a path may be raw; clients do not agree on the others."""
    octet = ord(character)
    notations = (character, f"%{octet:02X}", f"%{octet:02x}")
    for written in notations:
        for sent in notations:
            exact, below = (
                router(f"/a{written}b", f"/c{written}/...").match(path.encode())
                for path in (f"/a{sent}b", f"/c{sent}/x{sent}%2Fy")
            )
            assert exact is not None
            assert exact.script_name == f"/a{character}b".encode()
            assert below is not None
            assert (below.script_name, below.path_info) == (f"/c{character}".encode(), f"/x{character}/y".encode())


@pytest.mark.parametrize("encoded", ["%2F", "%3F", "%23", "%25", "%20", "%C3%A9"])
def test_a_character_of_a_route_that_is_only_encoded(encoded: str) -> None:
    text = f"/a{encoded}b"
    for path in (text, text.lower()):
        match = router(text).match(path.encode())
        assert match is not None
    assert router(text).match(b"/ab") is None


def test_an_encoded_slash_and_percent_sign_are_data() -> None:
    assert router("/a/b", "/%61%25").match(b"/a%2Fb") is None
    assert router("/a%2Fb").match(b"/a/b") is None
    assert router("/%2561").match(b"/a") is None


@pytest.mark.parametrize(
    "path",
    b"/private//../x /private//x/../../y /private/%2F../x /x/a%2Fb/../../private/y /x/a%2fb/%2E%2e/../private/y"
    b" //../private/x //./private/x /private//. /private//.. /private//%2e%2E/x /e/..//x /e/.//x /e/%2e//x".split(),
)
def test_dot_segments_that_other_servers_resolve_differently_are_refused(path: bytes) -> None:
    """nginx merges slashes and decodes %2F before it resolves dot segments (docs/behind-a-proxy.md)."""
    with pytest.raises(BadRequest):
        router("/private/...", "/e/...", "/...").match(path)


@pytest.mark.parametrize(
    "path",
    b"/../x /e/../../x /%2e%2e/x * http://h/x /e/%00 /e/%0d%0aX: /e/%7f /e/%FF /e/%C0%AF /e/a%2f..%2fb /e/a%2f%2e%2e"
    b" /e/\xff".split(),
)
def test_refused(path: bytes) -> None:
    with pytest.raises(BadRequest):
        EVERYTHING.match(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "x/...",
        "/a/../b",
        "/a/./b",
        "/a?b",
        "/a#b",
        "/a\nb",
        "/a%0Ab",
        "/a%00",
        "/%2e%2E",
        "/a%2F..",
        "/%FF",
        "/../a",
        "/a//..",
    ],
)
def test_bad_patterns(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        RoutePattern(text)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("users", "/users"),
        ("GET /users/...", "/users/..."),
        ("https://a.example/x", "/x"),
        ("DELETE http://a", "/"),
        ("Home/x", "/Home/x"),
        ("", "/"),
    ],
)
def test_a_pattern_without_slash_is_shown_as_a_path(text: str, path: str) -> None:
    with pytest.raises(ValueError, match=f'a route starts with "/"; write "{re.escape(path)}"$'):
        RoutePattern(text)


@pytest.mark.parametrize(
    ("parent", "child", "joined"),
    [
        ("/exactparentslash/", "/exact", "/exactparentslash/exact"),
        ("/", "/exact", "/exact"),
        ("/a/...", "/b/...", "/a/b/..."),
        ("/a", "b", "/a/b"),
        ("/...", "/b", "/b"),
        ("/foo", "/...", "/foo/..."),
    ],
)
def test_join(parent: str, child: str, joined: str) -> None:
    assert RoutePattern(parent).join(child).text == joined


def test_duplicates_are_refused() -> None:
    with pytest.raises(ValueError, match="taken"):
        router("/a", "/%61")


def test_order_does_not_matter() -> None:
    forwards, backwards = router("/...", "/a/...", "/a/b"), router("/a/b", "/a/...", "/...")
    for path in (b"/a/b", b"/a/c", b"/c"):
        one, other = forwards.match(path), backwards.match(path)
        assert one is not None
        assert other is not None
        assert one.target == other.target


@given(st.binary().map(lambda tail: b"/" + tail))
def test_any_path_is_matched_or_refused(path: bytes) -> None:
    try:
        match = EVERYTHING.match(path)
    except BadRequest:
        return
    assert match is not None
    assert b"\0" not in match.path_info
    assert not {b".", b".."}.intersection(match.path_info.split(b"/"))
    match.path_info.decode("utf-8")


def readings(path: bytes, *, is_merging: bool, decodes_slash: bool) -> bytes:
    """The path as a front server resolves it; empty above the root."""
    path = re.sub(rb"%(2[eEdD]|[57][fFeE]|[3-7][0-9A-Fa-f])", lambda found: unquote_to_bytes(found[0]), path)
    if decodes_slash:
        path = re.sub(rb"%2[fF]", b"/", path)
    if is_merging:
        path = re.sub(rb"/+", b"/", path)
    segments: list[bytes] = []
    for segment in path[1:].split(b"/"):
        if segment == b"..":
            if not segments:
                return b""
            segments.pop()
        elif segment != b".":
            segments.append(segment)
    return b"/" + b"/".join(segments)


USUAL = (b"private", b"x", b"..", b"", b"a%2Fb")
ODD = b". %2e%2E %2f %2F.. ..%2F p%72ivate ; ..; %25 \\ %5c".split()


@given(st.lists(st.sampled_from(USUAL) | st.sampled_from(ODD), max_size=6))
@settings(max_examples=2000, deadline=None)
def test_a_route_below_a_prefix_is_reached_by_no_path_that_another_server_reads_differently(
    segments: list[bytes],
) -> None:
    path = b"/" + b"/".join(segments)
    try:
        match = router("/private/...", "/...").match(path)
    except BadRequest:
        return
    assert match is not None
    if match.target == "/private/..." and match.path_info:
        for is_merging, decodes_slash in product((False, True), repeat=2):
            seen = readings(path, is_merging=is_merging, decodes_slash=decodes_slash)
            assert not seen or (seen + b"/").startswith(b"/private/")


@given(st.binary())
def test_normalizing_twice_changes_nothing(tail: bytes) -> None:
    try:
        once = normalize(b"/" + tail)
    except BadRequest:
        return
    # An escape that results from decoding is data: the path is decoded once.
    if b"%" not in once:
        assert normalize(once) == once


@given(st.text(alphabet=st.characters(blacklist_categories=["Cc", "Cs"], blacklist_characters="/.")))
def test_decoding_undoes_encoding(text: str) -> None:
    from urllib.parse import quote

    assert decode_path_info(quote("/" + text).encode()) == ("/" + text).encode()
