"""The policy of `allowed_hosts` (docs/spec/wagi.md W6): what its entries permit, and which addresses are public."""

# ruff: noqa: RUF001 - the tests are about ambiguous characters

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wagi_gateway.outbound.destination import Address, Destination
from wagi_gateway.outbound.errors import DestinationNotAllowed
from wagi_gateway.outbound.policy import ALLOW_ALL, VALID_FORMS, AllowedHost, Policy, is_public

ANYWHERE = "may be called, whatever its address"
PUBLIC = "may be called at public addresses"
DENIED = "7"
INVALID = "10"


def verdict(entries: str, url: str, *, allow_private_networks: bool = False) -> str:
    """The result of a call to a URL under entries separated by blanks."""
    policy = Policy(entries.split(), allow_private_networks=allow_private_networks)
    try:
        destination = Destination.parse(url)
    except ValueError:
        return INVALID
    try:
        return PUBLIC if policy.check(destination) else ANYWHERE
    except DestinationNotAllowed:
        return DENIED


SCHEMES_AND_PORTS = [
    ("nothing-is-listed", "", "http://example.com/", DENIED),
    ("host-http", "example.com", "http://example.com/", ANYWHERE),
    ("host-https", "example.com", "https://example.com/", ANYWHERE),
    ("host-path-query", "example.com", "http://example.com/a/b?c=d#e", ANYWHERE),
    ("host-port-written-out", "example.com", "http://example.com:80/", ANYWHERE),
    ("host-port-written-out-https", "example.com", "https://example.com:443/", ANYWHERE),
    ("host-port-with-zeros", "example.com", "http://example.com:0080/", ANYWHERE),
    ("host-empty-port", "example.com", "http://example.com:/", ANYWHERE),
    ("host-other-port", "example.com", "http://example.com:8080/", DENIED),
    ("host-port-of-https-over-http", "example.com", "http://example.com:443/", DENIED),
    ("host-port-of-http-over-https", "example.com", "https://example.com:80/", DENIED),
    ("host-port-0", "example.com", "http://example.com:0/", DENIED),
    ("all-port-0", ALLOW_ALL, "http://example.com:0/", DENIED),
    ("all-port-0-https", ALLOW_ALL, "https://example.com:000/", DENIED),
    ("host-port-65536", "example.com", "http://example.com:65536/", INVALID),
    ("host-port-wraps-to-80", "example.com", "http://example.com:65616/", INVALID),
    ("host-port-negative", "example.com", "http://example.com:-80/", INVALID),
    ("host-port-words", "example.com", "http://example.com:http/", INVALID),
    ("host-port-full-width", "example.com", "http://example.com:８０/", INVALID),
    ("host-other", "example.com", "http://example.org/", DENIED),
    ("host-below", "example.com", "http://www.example.com/", DENIED),
    ("host-above", "www.example.com", "http://example.com/", DENIED),
    ("host-longer", "example.com", "http://example.com.evil.com/", DENIED),
    ("host-prefixed", "example.com", "http://evilexample.com/", DENIED),
    ("host-port", "example.com:8080", "http://example.com:8080/", ANYWHERE),
    ("host-port-https", "example.com:8080", "https://example.com:8080/", ANYWHERE),
    ("host-port-default", "example.com:8080", "http://example.com/", DENIED),
    ("host-port-80", "example.com:80", "http://example.com/", ANYWHERE),
    ("host-port-80-https", "example.com:80", "https://example.com:80/", ANYWHERE),
    ("host-port-80-https-default", "example.com:80", "https://example.com/", DENIED),
    ("host-port-443-http", "example.com:443", "http://example.com:443/", ANYWHERE),
    ("http", "http://example.com", "http://example.com/", ANYWHERE),
    ("http-not-https", "http://example.com", "https://example.com/", DENIED),
    ("http-not-https-80", "http://example.com", "https://example.com:80/", DENIED),
    ("https", "https://example.com", "https://example.com/", ANYWHERE),
    ("https-not-http", "https://example.com", "http://example.com/", DENIED),
    ("https-not-http-443", "https://example.com", "http://example.com:443/", DENIED),
    ("https-not-8443", "https://example.com", "https://example.com:8443/", DENIED),
    ("https-8443", "https://example.com:8443", "https://example.com:8443/", ANYWHERE),
    ("https-8443-not-443", "https://example.com:8443", "https://example.com/", DENIED),
    ("https-443-written-out", "https://example.com:443", "https://example.com/", ANYWHERE),
    ("entry-slash", "https://example.com/", "https://example.com/a", ANYWHERE),
    ("entry-path-is-not-compared", "https://example.com/v1?x#y", "https://example.com/v2", ANYWHERE),
    ("one-of-two", "https://a.example http://b.example", "http://b.example/", ANYWHERE),
    ("crossed", "https://a.example http://b.example", "http://a.example/", DENIED),
    ("localhost", "http://localhost:8080", "http://localhost:8080/", ANYWHERE),
    ("localhost-other-port", "http://localhost:8080", "http://localhost:8081/", DENIED),
]

WILDCARDS = [
    ("wildcard", "*.example.com", "http://a.example.com/", PUBLIC),
    ("wildcard-deep", "*.example.com", "https://a.b.example.com/", PUBLIC),
    ("wildcard-bare", "*.example.com", "http://example.com/", DENIED),
    ("wildcard-bare-dot", "*.example.com", "http://example.com./", DENIED),
    ("wildcard-prefixed", "*.example.com", "http://evilexample.com/", DENIED),
    ("wildcard-longer", "*.example.com", "http://a.example.com.evil.com/", DENIED),
    ("wildcard-in-userinfo", "*.example.com", "http://a.example.com@evil.com/", DENIED),
    ("wildcard-in-path", "*.example.com", "http://evil.com/.example.com", DENIED),
    ("wildcard-in-query", "*.example.com", "http://evil.com?.example.com", DENIED),
    ("wildcard-in-fragment", "*.example.com", "http://evil.com#.example.com", DENIED),
    ("wildcard-after-backslash", "*.example.com", "http://evil.com\\.example.com", DENIED),
    ("wildcard-after-nul", "*.example.com", "http://evil.com%00.example.com/", INVALID),
    ("wildcard-after-newline", "*.example.com", "http://evil.com%0a.example.com/", INVALID),
    ("wildcard-case", "*.EXAMPLE.com", "http://A.Example.COM/", PUBLIC),
    ("wildcard-dot", "*.example.com", "http://a.example.com./", PUBLIC),
    ("wildcard-entry-dot", "*.example.com.", "http://a.example.com/", PUBLIC),
    ("wildcard-star-in-the-url", "*.example.com", "http://*.example.com/", PUBLIC),
    ("wildcard-port", "*.example.com", "http://a.example.com:8080/", DENIED),
    ("wildcard-own-port", "*.example.com:8080", "http://a.example.com:8080/", PUBLIC),
    ("wildcard-scheme", "https://*.example.com", "https://a.example.com/", PUBLIC),
    ("wildcard-other-scheme", "https://*.example.com", "http://a.example.com/", DENIED),
    ("wildcard-idna", "*.bücher.example", "http://a.xn--bcher-kva.example/", PUBLIC),
    ("wildcard-is-no-address", "*.com", "http://[::1]/", DENIED),
    ("wildcard-under-exact", "*.example.com a.example.com", "http://a.example.com/", ANYWHERE),
    ("wildcard-beside-exact", "*.example.com a.example.com", "http://b.example.com/", PUBLIC),
    ("wildcard-exact-of-another-port", "*.example.com:80 a.example.com:81", "http://a.example.com/", PUBLIC),
    ("wildcard-exact-of-another-scheme", "*.example.com https://a.example.com", "http://a.example.com/", PUBLIC),
]

NAMES = [
    ("upper-case-url", "example.com", "HTTP://EXAMPLE.COM/", ANYWHERE),
    ("upper-case-entry", "HTTP://EXAMPLE.COM", "http://example.com/", ANYWHERE),
    ("dot-in-the-url", "example.com", "http://example.com./", ANYWHERE),
    ("dot-in-the-entry", "example.com.", "http://example.com/", ANYWHERE),
    ("dot-and-port", "example.com:81", "http://example.com.:81/", ANYWHERE),
    ("encoded-letters", "example.com", "http://%65x%61mple.com/", ANYWHERE),
    ("encoded-dot", "example.com", "http://example%2ecom/", ANYWHERE),
    ("encoded-at-the-end", "example.com", "http://example.com%2e/", ANYWHERE),
    ("encoded-slash", "example.com", "http://evil.com%2f.example.com/", INVALID),
    ("encoded-nul", "example.com", "http://example.com%00/", INVALID),
    ("encoded-nul-and-more", "example.com", "http://example.com%00.evil.com/", INVALID),
    ("encoded-at", "example.com", "http://evil.com%40example.com/", INVALID),
    ("encoded-hash", "example.com", "http://example.com%23.evil.com/", INVALID),
    ("encoded-twice", "example.com", "http://example%252ecom/", INVALID),
    ("raw-nul", "example.com", "http://example.com\0.evil.com/", INVALID),
    ("umlaut", "bücher.example", "http://bücher.example/", ANYWHERE),
    ("umlaut-punycode-url", "bücher.example", "http://xn--bcher-kva.example/", ANYWHERE),
    ("umlaut-punycode-entry", "xn--bcher-kva.example", "http://bücher.example/", ANYWHERE),
    ("umlaut-upper-case", "bücher.example", "http://BÜCHER.example/", ANYWHERE),
    ("umlaut-decomposed", "bücher.example", "http://bu\u0308cher.example/", ANYWHERE),
    ("umlaut-percent", "bücher.example", "http://b%C3%BCcher.example/", ANYWHERE),
    ("umlaut-is-no-u", "bucher.example", "http://bücher.example/", DENIED),
    ("sharp-s", "straße.example", "http://straße.example/", ANYWHERE),
    ("sharp-s-is-no-ss", "strasse.example", "http://straße.example/", DENIED),
    ("sharp-s-punycode", "straße.example", "http://xn--strae-oqa.example/", ANYWHERE),
    ("sharp-s-capital", "straße.example", "http://STRAẞE.example/", ANYWHERE),
    ("full-width", "example.com", "http://ｅｘａｍｐｌｅ.com/", ANYWHERE),
    ("full-width-entry", "ｅｘａｍｐｌｅ.com", "http://example.com/", ANYWHERE),
    ("full-width-dot", "example.com", "http://example．com/", ANYWHERE),
    ("ideographic-dot", "example.com", "http://example。com/", ANYWHERE),
    ("full-width-slash", "example.com", "http://evil.com／.example.com/", INVALID),
    ("full-width-at", "example.com", "http://evil.com＠example.com/", INVALID),
    ("full-width-colon", "example.com", "http://example.com：80/", INVALID),
    ("ligature", "office.example", "http://oﬃce.example/", ANYWHERE),
    ("circled", "example.com", "http://ⓔxample.com/", ANYWHERE),
    ("kelvin-sign", "kelvin.example", "http://\u212aelvin.example/", ANYWHERE),
    ("cyrillic-a-is-no-a", "apple.example", "http://\u0430pple.example/", DENIED),
    ("dotless-i-is-no-i", "api.example", "http://apı.example/", DENIED),
    ("soft-hyphen", "example.com", "http://exam\u00adple.com/", ANYWHERE),
    ("zero-width-space", "example.com", "http://exam\u200bple.com/", ANYWHERE),
    ("right-to-left-override", "example.com", "http://\u202emoc.elpmaxe/", INVALID),
    ("punycode-of-ascii", "example.com", "http://xn--example-.com/", DENIED),
    ("punycode-broken", "example.com", "http://xn--a/", DENIED),
    ("mixed", "xn--bcher-kva.straße.example", "http://BÜCHER.xn--strae-oqa.EXAMPLE/", ANYWHERE),
    ("underscore", "_a.example", "http://_a.example/", ANYWHERE),
    ("hyphens", "a--b.example", "http://a--b.example/", ANYWHERE),
    ("empty-label-before", "*.example.com example.com", "http://.example.com/", INVALID),
    ("empty-label-encoded", "*.example.com example.com", "http://%2eexample.com/", INVALID),
    ("empty-label-ideographic", "*.example.com example.com", "http://。example.com/", INVALID),
    ("empty-label-inside", "*.example.com", "http://a..example.com/", INVALID),
    ("empty-label-after", "*.example.com example.com", "http://example.com../", INVALID),
    ("empty-label-after-an-address", "127.0.0.1", "http://127.0.0.1../", INVALID),
    ("one-label", "intranet", "http://intranet/", ANYWHERE),
    ("very-long-path", "example.com", f"http://example.com/{'a' * 60_000}", ANYWHERE),
    ("very-long-userinfo", "example.com", f"http://{'a' * 60_000}@example.com/", ANYWHERE),
    ("very-long-host", "example.com", f"http://{'a.' * 30_000}example.com/", INVALID),
]

TRICKS = [
    ("userinfo-is-no-host", "allowed.example", "http://allowed.example@evil.com/", DENIED),
    ("userinfo-with-port", "allowed.example", "http://allowed.example:80@evil.com/", DENIED),
    ("userinfo-with-password", "allowed.example", "http://u:p@allowed.example/", ANYWHERE),
    ("userinfo-two-ats", "allowed.example", "http://a@allowed.example@evil.com/", DENIED),
    ("userinfo-two-ats-reversed", "allowed.example", "http://evil.com@evil.com@allowed.example/", ANYWHERE),
    ("userinfo-slash", "allowed.example", "http://evil.com/@allowed.example/", DENIED),
    ("userinfo-question-mark", "allowed.example", "http://evil.com?@allowed.example/", DENIED),
    ("userinfo-hash", "allowed.example", "http://evil.com#@allowed.example/", DENIED),
    ("userinfo-backslash", "allowed.example", "http://evil.com\\@allowed.example/", DENIED),
    ("userinfo-backslash-allowed", "allowed.example", "http://allowed.example\\@evil.com/", ANYWHERE),
    ("userinfo-encoded-slash", "allowed.example", "http://evil.com%2f@allowed.example/", ANYWHERE),
    ("userinfo-bracket", "allowed.example", "http://[::1]@allowed.example/", ANYWHERE),
    ("userinfo-and-nothing", "allowed.example", "http://allowed.example@/", INVALID),
    ("backslashes", "allowed.example", "http:\\\\allowed.example\\a", ANYWHERE),
    ("mixed-slashes", "allowed.example", "http:/\\allowed.example", ANYWHERE),
    ("no-slashes", "allowed.example", "http:allowed.example", ANYWHERE),
    ("one-slash", "allowed.example", "http:/allowed.example", ANYWHERE),
    ("many-slashes", "allowed.example", "http://///allowed.example", ANYWHERE),
    ("no-slashes-evil", "allowed.example", "http:evil.com", DENIED),
    ("many-slashes-evil", "allowed.example", "http:////evil.com//allowed.example", DENIED),
    ("tab-inside", "allowed.example", "http://allowed\t.example/", ANYWHERE),
    ("newline-inside", "allowed.example", "ht\ntp://allowed.exa\r\nmple/", ANYWHERE),
    ("newline-splits-nothing", "allowed.example", "http://allowed.example\n.evil.com/", DENIED),
    ("newline-before-at", "allowed.example", "http://allowed.example\n@evil.com/", DENIED),
    ("blanks-around", "allowed.example", "  http://allowed.example/ \0", ANYWHERE),
    ("blank-inside", "allowed.example", "http://allowed.example .evil.com/", INVALID),
    ("no-break-space-inside", "allowed.example", "http://allowed.example\u00a0.evil.com/", INVALID),
    ("caret", "allowed.example", "http://allowed^.example/", INVALID),
    ("pipe", "allowed.example", "http://evil.com|allowed.example/", INVALID),
    ("angle", "allowed.example", "http://<allowed.example>/", INVALID),
    ("bracketed-name", "allowed.example", "http://[allowed.example]/", INVALID),
    ("semicolon", "allowed.example", "http://allowed.example;evil.com/", DENIED),
    ("comma", "allowed.example", "http://allowed.example,evil.com/", DENIED),
    ("ampersand", "allowed.example", "http://evil.com&allowed.example/", DENIED),
    ("two-ports", "allowed.example", "http://allowed.example:80:80/", INVALID),
    ("port-then-userinfo", "allowed.example:80", "http://evil.com:80@allowed.example:80/", ANYWHERE),
    ("dots-in-the-path", "allowed.example", "http://evil.com/../../allowed.example", DENIED),
]

SCHEMES = [
    (scheme, f"{ALLOW_ALL} allowed.example http://allowed.example", url, expected)
    for scheme, url, expected in [
        ("ftp", "ftp://allowed.example/", DENIED),
        ("file", "file:///etc/passwd", INVALID),
        ("file-with-host", "file://allowed.example/etc/passwd", DENIED),
        ("file-localhost", "file://localhost/etc/passwd", INVALID),
        ("data", "data:text/plain,allowed.example", INVALID),
        ("javascript", "javascript:alert(1)", INVALID),
        ("javascript-with-host", "javascript://allowed.example/%0aalert(1)", DENIED),
        ("ws", "ws://allowed.example/", DENIED),
        ("wss", "wss://allowed.example/", DENIED),
        ("blob", "blob:http://allowed.example/", INVALID),
        ("about", "about:blank", INVALID),
        ("mailto", "mailto:a@allowed.example", INVALID),
        ("gopher", "gopher://allowed.example:80/", DENIED),
        ("unix", "http+unix://allowed.example/", DENIED),
        ("socket", "unix:///var/run/docker.sock", INVALID),
        ("other-case", "HtTpS://allowed.example/", ANYWHERE),
        ("look-alike", "httpｓ://allowed.example/", INVALID),
        ("like-http", "httpx://allowed.example/", DENIED),
        ("view-source", "view-source:http://allowed.example/", INVALID),
        ("empty", "", INVALID),
        ("blank", " ", INVALID),
        ("relative", "hello", INVALID),
        ("absolute-path", "/hello", INVALID),
        ("no-scheme", "//allowed.example/", INVALID),
        ("host-alone", "allowed.example", INVALID),
        ("host-and-port-alone", "allowed.example:80", INVALID),
        ("scheme-alone", "http:", INVALID),
        ("no-host", "http://", INVALID),
        ("no-host-but-port", "http://:80/", INVALID),
        ("no-host-but-query", "http://?allowed.example", INVALID),
        ("dot", "http://./", INVALID),
    ]
]

NUMBERS = [
    ("v4", "127.0.0.1", "http://127.0.0.1/", ANYWHERE),
    ("v4-short", "127.0.0.1", "http://127.1/", ANYWHERE),
    ("v4-three-parts", "127.0.0.1", "http://127.0.1/", ANYWHERE),
    ("v4-number", "127.0.0.1", "http://2130706433/", ANYWHERE),
    ("v4-hex", "127.0.0.1", "http://0x7f000001/", ANYWHERE),
    ("v4-hex-short", "127.0.0.1", "http://0x7f.1/", ANYWHERE),
    ("v4-hex-parts", "127.0.0.1", "http://0x7F.0x0.0X0.0x1/", ANYWHERE),
    ("v4-octal", "127.0.0.1", "http://0177.0.0.1/", ANYWHERE),
    ("v4-octal-is-not-decimal", "177.0.0.1", "http://0177.0.0.1/", DENIED),
    ("v4-mixed", "127.0.0.1", "http://0x7f.0.01/", ANYWHERE),
    ("v4-dot", "127.0.0.1", "http://127.0.0.1./", ANYWHERE),
    ("v4-entry-dot", "127.0.0.1.", "http://127.0.0.1/", ANYWHERE),
    ("v4-entry-hex", "0x7f.1", "http://127.0.0.1/", ANYWHERE),
    ("v4-entry-full-width", "１２７.0.0.1", "http://127.0.0.1/", ANYWHERE),
    ("v4-full-width", "127.0.0.1", "http://１２７。０．０．１/", ANYWHERE),
    ("v4-circled", "127.0.0.1", "http://①②⑦.0.0.1/", ANYWHERE),
    ("v4-percent", "127.0.0.1", "http://%31%32%37.0.0.1/", ANYWHERE),
    ("v4-other", "127.0.0.1", "http://127.0.0.2/", DENIED),
    ("v4-port", "127.0.0.1:8080", "http://127.1:8080/", ANYWHERE),
    ("v4-too-large", "127.0.0.1", "http://127.0.0.256/", INVALID),
    ("v4-number-too-large", "127.0.0.1", "http://6425673729/", INVALID),
    ("v4-five-parts", "127.0.0.1", "http://127.0.0.0.1/", INVALID),
    ("v4-bad-octal", "127.0.0.1", "http://127.0.0.08/", INVALID),
    ("v4-empty-hex-is-0", "0.0.0.0", "http://0x/", ANYWHERE),
    ("v4-ends-in-a-number", "example.com", "http://example.com.1/", INVALID),
    ("v4-0", "0.0.0.0", "http://0/", ANYWHERE),
    ("v4-is-not-localhost", "localhost", "http://127.0.0.1/", DENIED),
    ("localhost-is-not-v4", "127.0.0.1", "http://localhost/", DENIED),
    ("v6", "[::1]", "http://[::1]/", ANYWHERE),
    ("v6-port", "http://[::1]:8080", "http://[::1]:8080/", ANYWHERE),
    ("v6-other-port", "http://[::1]:8080", "http://[::1]/", DENIED),
    ("v6-long", "[::1]", "http://[0:0:0:0:0:0:0:1]/", ANYWHERE),
    ("v6-zeros", "[::1]", "http://[0000:0000:0000:0000:0000:0000:0000:0001]/", ANYWHERE),
    ("v6-upper-case", "[2001:db8::abcd]", "http://[2001:DB8::ABCD]/", ANYWHERE),
    ("v6-entry-long", "[2001:0DB8:0:0:0:0:0:1]", "http://[2001:db8::1]/", ANYWHERE),
    ("v6-first-of-two-gaps", "[1:0:0:2:0:0:0:3]", "http://[1::2:0:0:0:3]/", ANYWHERE),
    ("v6-v4-tail", "[64:ff9b::7f00:1]", "http://[64:ff9b::127.0.0.1]/", ANYWHERE),
    ("v6-mapped", "127.0.0.1", "http://[::ffff:127.0.0.1]/", ANYWHERE),
    ("v6-mapped-hex", "127.0.0.1", "http://[::FFFF:7f00:1]/", ANYWHERE),
    ("v6-mapped-entry", "[::ffff:127.0.0.1]", "http://127.0.0.1/", ANYWHERE),
    ("v6-compatible-is-not-v4", "127.0.0.1", "http://[::127.0.0.1]/", DENIED),
    ("v6-is-not-v4", "127.0.0.1", "http://[::1]/", DENIED),
    ("v6-zone", "[fe80::1]", "http://[fe80::1%25eth0]/", INVALID),
    ("v6-no-brackets", "[::1]", "http://::1/", INVALID),
    ("v6-open-bracket", "[::1]", "http://[::1/", INVALID),
    ("v6-after-bracket", "[::1]", "http://[::1].example.com/", INVALID),
    ("v6-octal-tail", "[::ffff:127.0.0.1]", "http://[::ffff:0177.0.0.1]/", INVALID),
    ("v6-short-tail", "[::ffff:127.0.0.1]", "http://[::ffff:127.1]/", INVALID),
    ("v6-two-gaps", "[::1]", "http://[::0::1]/", INVALID),
    ("v6-future", "[::1]", "http://[v1.a]/", INVALID),
]

CASES = [*SCHEMES_AND_PORTS, *WILDCARDS, *NAMES, *TRICKS, *SCHEMES, *NUMBERS]


@pytest.mark.parametrize(("entries", "url", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_verdict(entries: str, url: str, expected: str) -> None:
    assert verdict(entries, url) == expected


# The first is the host of a URL, or None if no URL can have it; the second is whether the address is public.
ADDRESSES = [
    ("public", "93.184.216.34", True),
    ("public-number", "1572395042", True),
    ("before-10", "9.255.255.255", True),
    ("after-10", "11.0.0.0", True),
    ("before-172.16", "172.15.255.255", True),
    ("after-172.31", "172.32.0.0", True),
    ("before-cgnat", "100.63.255.255", True),
    ("after-cgnat", "100.128.0.0", True),
    ("before-azure", "168.63.129.15", True),
    ("after-azure", "168.63.129.17", True),
    ("last-unicast", "223.255.255.255", True),
    ("this-host", "0.0.0.0", False),
    ("this-network", "0.1.2.3", False),
    ("short-0", "0", False),
    ("private-10", "10.0.0.1", False),
    ("private-172.16", "172.16.0.0", False),
    ("private-172.31", "172.31.255.255", False),
    ("private-192.168", "192.168.1.1", False),
    ("private-octal", "012.0.0.1", False),
    ("private-hex", "0xa000001", False),
    ("loopback", "127.0.0.1", False),
    ("loopback-other", "127.255.255.254", False),
    ("loopback-hex", "0x7f.1", False),
    ("link-local", "169.254.1.1", False),
    ("metadata", "169.254.169.254", False),
    ("metadata-number", "2852039166", False),
    ("metadata-octal", "0251.0376.0251.0376", False),
    ("metadata-dot", "169.254.169.254.", False),
    ("metadata-ecs", "169.254.170.2", False),
    ("metadata-azure", "168.63.129.16", False),
    ("metadata-alibaba", "100.100.100.200", False),
    ("metadata-oracle", "192.0.0.192", False),
    ("cgnat", "100.64.0.1", False),
    ("cgnat-last", "100.127.255.255", False),
    ("documentation-1", "192.0.2.1", False),
    ("documentation-2", "198.51.100.1", False),
    ("documentation-3", "203.0.113.1", False),
    ("benchmarks", "198.19.255.255", False),
    ("relays", "192.88.99.1", False),
    ("multicast", "224.0.0.1", False),
    ("multicast-last", "239.255.255.255", False),
    ("reserved", "240.0.0.1", False),
    ("broadcast", "255.255.255.255", False),
    ("v6-public", "[2606:2800:220:1:248:1893:25c8:1946]", True),
    ("v6-public-google", "[2001:4860:4860::8888]", True),
    ("v6-mapped-public", "[::ffff:93.184.216.34]", True),
    ("v6-nat64-public", "[64:ff9b::93.184.216.34]", True),
    ("v6-unspecified", "[::]", False),
    ("v6-loopback", "[::1]", False),
    ("v6-compatible-loopback", "[::127.0.0.1]", False),
    ("v6-compatible-public", "[::93.184.216.34]", False),
    ("v6-mapped-loopback", "[::ffff:127.0.0.1]", False),
    ("v6-mapped-private", "[::ffff:a00:1]", False),
    ("v6-mapped-metadata", "[::ffff:169.254.169.254]", False),
    ("v6-translated", "[::ffff:0:127.0.0.1]", False),
    ("v6-nat64-loopback", "[64:ff9b::7f00:1]", False),
    ("v6-nat64-metadata", "[64:ff9b::169.254.169.254]", False),
    ("v6-nat64-azure", "[64:ff9b::168.63.129.16]", False),
    ("v6-nat64-local", "[64:ff9b:1::808:808]", False),
    ("v6-6to4-public", "[2002:5db8:d822::1]", False),
    ("v6-6to4-loopback", "[2002:7f00:1::]", False),
    ("v6-6to4-private", "[2002:a00:1::1]", False),
    ("v6-6to4-metadata", "[2002:a9fe:a9fe::1]", False),
    ("v6-teredo", "[2001::1]", False),
    ("v6-teredo-hides", "[2001:0:4136:e378:8000:63bf:80ff:fffe]", False),
    ("v6-protocols", "[2001:1ff:ffff::]", False),
    ("v6-orchid", "[2001:20::1]", False),
    ("v6-documentation", "[2001:db8::1]", False),
    ("v6-documentation-2", "[3fff::1]", False),
    ("v6-unique-local", "[fd00::1]", False),
    ("v6-metadata-aws", "[fd00:ec2::254]", False),
    ("v6-metadata-google", "[fd20:ce::254]", False),
    ("v6-link-local", "[fe80::1]", False),
    ("v6-metadata-link-local", "[fe80::a9fe:a9fe]", False),
    ("v6-site-local", "[fec0::1]", False),
    ("v6-multicast", "[ff02::1]", False),
    ("v6-discard", "[100::1]", False),
    ("v6-segments", "[5f00::1]", False),
    ("v6-not-assigned", "[4000::1]", False),
]

addresses = pytest.mark.parametrize(
    ("host", "public"), [row[1:] for row in ADDRESSES], ids=[row[0] for row in ADDRESSES]
)


@addresses
def test_allow_all_reaches_public_addresses(host: str, public: bool) -> None:
    for url in (f"http://{host}/", f"https://{host}:8443/"):
        assert verdict(ALLOW_ALL, url) == (PUBLIC if public else DENIED)
        assert verdict(f"*.example.com {ALLOW_ALL} example.com", url) == (PUBLIC if public else DENIED)


@addresses
def test_public_only_holds_for_a_named_host_too(host: str, public: bool) -> None:
    policy = Policy([f"http://{host}"], allow_private_networks=True, public_only=True)
    destination = Destination.parse(f"http://{host}/")
    if public:
        assert policy.check(destination)
    else:
        with pytest.raises(DestinationNotAllowed):
            policy.check(destination)


@addresses
def test_allow_private_networks_reaches_all_addresses(host: str, public: bool) -> None:  # noqa: ARG001
    assert verdict(ALLOW_ALL, f"http://{host}/", allow_private_networks=True) == ANYWHERE
    assert verdict("example.com", f"http://{host}/", allow_private_networks=True) == DENIED


@addresses
def test_an_exact_entry_reaches_its_address(host: str, public: bool) -> None:
    assert verdict(host, f"http://{host}/") == ANYWHERE
    assert verdict(f"{ALLOW_ALL} {host}", f"http://{host}/") == ANYWHERE
    if not public:
        assert verdict(f"{ALLOW_ALL} {host}:81", f"http://{host}/") == DENIED


@addresses
def test_is_public(host: str, public: bool) -> None:
    address = Destination.parse(f"http://{host}/").address
    assert address is not None
    assert is_public(address) == public
    policy = Policy(["*.example.com"])
    if public:
        policy.check_address(address)
    else:
        with pytest.raises(DestinationNotAllowed, match=f"^{re.escape(str(address))} is not a public address"):
            policy.check_address(address)


@pytest.mark.parametrize("host", ["example.com", "localhost", "metadata.google.internal", "a.b"])
def test_allow_all_permits_names_at_public_addresses(host: str) -> None:
    for url in (f"http://{host}/", f"https://{host}:8443/"):
        assert verdict(ALLOW_ALL, url) == PUBLIC
        assert verdict(ALLOW_ALL, url, allow_private_networks=True) == ANYWHERE
    assert verdict("*.b", "http://a.b/", allow_private_networks=True) == ANYWHERE


def test_a_mapped_address_is_public_where_the_other_is() -> None:
    """Only resolvers return IPv4-mapped addresses; the host of a URL never is one."""
    assert is_public(ip_address("::ffff:93.184.216.34"))
    assert not is_public(ip_address("::ffff:10.0.0.1"))
    assert not is_public(ip_address("fe80::1%eth0"))


# IANA's special-purpose address registries of 2025-10, and all addresses that are not unicast.
IANA_4 = """0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24
192.0.0.0/29 192.0.0.8/32 192.0.0.9/32 192.0.0.10/32 192.0.0.170/32 192.0.0.171/32 192.0.2.0/24 192.31.196.0/24
192.52.193.0/24 192.88.99.0/24 192.88.99.2/32 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24
203.0.113.0/24 240.0.0.0/4 255.255.255.255/32 224.0.0.0/4"""
IANA_6 = """::1/128 ::/128 ::ffff:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001::/32
2001:1::1/128 2001:1::2/128 2001:1::3/128 2001:2::/48 2001:3::/32 2001:4:112::/48 2001:10::/28 2001:20::/28 2001:30::/28
2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8"""
NOT_REACHABLE = {
    ip_network(network)
    for network in """0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.2.0/24
    192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4 224.0.0.0/4 ::1/128 ::/128 64:ff9b:1::/48
    100::/64 100:0:0:1::/64 2001:db8::/32 3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8""".split()
}
"""Special-purpose networks that are not globally reachable as a whole."""
NETWORKS = [ip_network(network) for network in (IANA_4 + " " + IANA_6).split()]


def assert_not_laxer_than_python(address: Address) -> None:
    """`is_public` denies more than Python (relays, multicast, metadata, IPv6 outside 2000::/3) and never less."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    assert not is_public(address) or (mapped or address).is_global  # before 3.13 mapped addresses are private


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_special_purpose_networks(network: IPv4Network | IPv6Network) -> None:
    first, last = int(network[0]), int(network[-1])
    for number in (first - 1, first, (first + last) // 2, last, last + 1):
        if 0 <= number < 2**network.max_prefixlen:
            address = type(network[0])(number)
            assert_not_laxer_than_python(address)
            assert not (network in NOT_REACHABLE and address in network and is_public(address))


@given(
    st.one_of(
        st.ip_addresses(),
        st.sampled_from(NETWORKS).flatmap(
            lambda network: st.integers(0, network.num_addresses - 1).map(lambda n: network[n])
        ),
    )
)
def test_public_addresses_are_global(address: Address) -> None:
    assert_not_laxer_than_python(address)
    for network in NOT_REACHABLE:
        assert not (address in network and is_public(address))


@given(st.ip_addresses(v=4))
def test_an_embedded_address_is_no_more_public_than_itself(address: IPv4Address) -> None:
    number = int(address)
    for prefix in ("::ffff:0:0", "64:ff9b::"):
        assert is_public(IPv6Address(int(IPv6Address(prefix)) + number)) == is_public(address)
    for prefix, shift in (("::", 0), ("::ffff:0:0:0", 0), ("2002::", 80), ("2001::", 64)):
        assert not is_public(IPv6Address(int(IPv6Address(prefix)) + (number << shift)))


HOSTS = st.one_of(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
    st.lists(st.sampled_from(["a", "B", "ü", "xn--4ca", "0x7f", "127", "1", "ß"]), min_size=1, max_size=5).map(
        ".".join
    ),
)


@given(HOSTS)
def test_an_entry_permits_itself(host: str) -> None:
    """An entry and a URL parse the same host to the same result."""
    try:
        entry = AllowedHost.parse(host)
    except ValueError:
        return
    if entry.is_exact and entry.port is None and not entry.ignored:
        assert entry.permits(Destination.parse(f"http://{host}/"))
        assert entry.permits(Destination.parse(f"https://{entry.host if ':' not in entry.host else host}:443/"))


@given(HOSTS, HOSTS)
def test_nothing_but_the_host_is_permitted(host: str, other: str) -> None:
    try:
        entry = AllowedHost.parse(f"http://{host}")
        destination = Destination.parse(f"http://{other}/")
    except ValueError:
        return
    if entry.is_exact:
        same = (entry.host, entry.port or 80) == (destination.host, destination.port)
        assert entry.permits(destination) == (same and destination.scheme == "http")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param(" ", id="blank"),
        pytest.param("*", id="star"),
        pytest.param("https://*", id="scheme-star"),
        pytest.param("*:80", id="star-port"),
        pytest.param("*example.com", id="star-without-dot"),
        pytest.param("a.*.com", id="star-inside"),
        pytest.param("example.*", id="star-at-the-end"),
        pytest.param("*.*.example.com", id="two-stars"),
        pytest.param("*.", id="star-and-nothing"),
        pytest.param("*..", id="star-and-dots"),
        pytest.param(".example.com", id="dot-before"),
        pytest.param("example.com..", id="dots-after"),
        pytest.param("a..example.com", id="dots-inside"),
        pytest.param("*..com", id="star-and-two-dots"),
        pytest.param("*.127.0.0.1", id="subdomains-of-an-address"),
        pytest.param("*.1", id="subdomains-of-a-number"),
        pytest.param("*.[::1]", id="subdomains-of-an-IPv6-address"),
        pytest.param("ftp://example.com", id="ftp"),
        pytest.param("ws://example.com", id="ws"),
        pytest.param("file:///etc", id="file"),
        pytest.param("://example.com", id="empty-scheme"),
        pytest.param("//example.com", id="no-scheme"),
        pytest.param("http:example.com", id="no-slashes"),
        pytest.param("http://", id="no-host"),
        pytest.param("http:///path", id="no-host-but-path"),
        pytest.param(":8080", id="port-alone"),
        pytest.param("/path", id="path-alone"),
        pytest.param("example.com:", id="empty-port"),
        pytest.param("example.com:0", id="port-0"),
        pytest.param("example.com:65536", id="port-too-large"),
        pytest.param("example.com:*", id="port-star"),
        pytest.param("example.com:80-90", id="port-range"),
        pytest.param("example.com:http", id="port-name"),
        pytest.param("user@example.com", id="userinfo"),
        pytest.param("http://user:password@example.com", id="userinfo-password"),
        pytest.param("http://example.com\\@evil.com", id="backslash"),
        pytest.param("exam ple.com", id="blank-inside"),
        pytest.param(" example.com", id="blank-before"),
        pytest.param("example.com\n", id="newline"),
        pytest.param("example.com\0", id="nul"),
        pytest.param("exam%70le.com", id="percent"),
        pytest.param("::1", id="v6-without-brackets"),
        pytest.param("[::1", id="v6-open"),
        pytest.param("[fe80::1%eth0]", id="v6-zone"),
        pytest.param("[example.com]", id="bracketed-name"),
        pytest.param("127.0.0.256", id="v4-too-large"),
        pytest.param("10.0.0.0/8", id="network"),
        pytest.param("[fd00::]/8", id="v6-network"),
        pytest.param("insecure:allow-al", id="allow-all-misspelt"),
        pytest.param("Insecure:Allow-All", id="allow-all-upper-case"),
        pytest.param("insecure:allow-all/", id="allow-all-slash"),
    ],
)
def test_bad_entries(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(VALID_FORMS) + "$"):
        AllowedHost.parse(text)
    with pytest.raises(ValueError, match="write for example"):
        Policy(["example.com", text])


def test_the_valid_forms_are_valid() -> None:
    forms = re.findall('"([^"]+)"', VALID_FORMS)
    assert len(forms) == 5
    assert [AllowedHost.parse(form).text for form in forms] == forms


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("https://api.example.com", "api.example.com: https on port 443, at any address"),
        ("http://localhost:8080", "localhost: http on port 8080, at any address"),
        ("API.Example.com", "api.example.com: http on port 80 and https on port 443, at any address"),
        ("example.com:81", "example.com: http on port 81 and https on port 81, at any address"),
        ("0x7f.1", "127.0.0.1: http on port 80 and https on port 443, at any address"),
        (
            "*.example.com",
            "every name below example.com, not example.com itself: http on port 80 and https on port 443, "
            "at public addresses only",
        ),
        (ALLOW_ALL, "every host and port over http and https, at public addresses only"),
    ],
)
def test_describe(text: str, words: str) -> None:
    entry = AllowedHost.parse(text)
    assert entry.describe(allow_private_networks=False) == words
    assert entry.describe(allow_private_networks=True) == words.replace("public addresses only", "any address")


@pytest.mark.parametrize(
    ("text", "ignored"),
    [
        ("example.com", ""),
        ("http://example.com/", ""),
        ("example.com/v1", "/v1"),
        ("http://a:1?x", "?x"),
        ("a#b", "#b"),
    ],
)
def test_what_an_entry_does_not_compare(text: str, ignored: str) -> None:
    assert AllowedHost.parse(text).ignored == ignored


def test_a_denial_says_why() -> None:
    with pytest.raises(DestinationNotAllowed, match=r"^https://evil\.com:8443 is not in allowed_hosts$"):
        Policy(["example.com"]).check(Destination.parse("https://user:secret@evil.com:8443/path?token"))
    with pytest.raises(DestinationNotAllowed, match=r'^10\.0\.0\.1 .*, which "insecure:allow-all" does not reach'):
        Policy(["example.com", ALLOW_ALL]).check(Destination.parse("http://10.1/"))
