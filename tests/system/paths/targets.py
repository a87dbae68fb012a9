"""Request targets that servers read differently: void and dot segments, encodings, separators, forms of a target."""

from __future__ import annotations

from itertools import product

PREFIX = b"/app"
"""The prefix that some front servers remove."""

_UPS = (
    b"..",
    b"%2e%2e",
    b".%2E",
    b"..;",
    b"..%3B",
    b"%252e%252e",
    b"..%00",
    b"..%5c",
    b"..\\",
    b"...",
    b"%c0%ae%c0%ae",
)
_SLASHES = b"/ // %2F %2f/ /%2f %252F \\ %5C /./ /%2e/ ;/ /;/ /.;/".split()

_DOTS = [b"/private%s%s%sx" % (one, up, two) for up, (one, two) in product(_UPS[:3], product(_SLASHES[:5], repeat=2))]
_CLIMBS = [b"/private/%s/x" % up for up in _UPS] + [b"/x/%s/private/y" % up for up in _UPS]
_SEPARATORS = [b"/private%sx" % slash for slash in _SLASHES] + [b"/x%s../private/y" % slash for slash in _SLASHES]
_HIDDEN = [
    b"/x%sy%s../../private/z" % pair for pair in product((b"/", b"//", b"%2F", b"\\", b"%5c"), (b"/", b"//", b"/%2F/"))
]
_SINGLE = [b"/%sprivate/x", b"/private/x%s", b"/private%s/x", b"/%s/private/x", b"/private/%s/../../y"]
_CHARACTERS = [
    form % piece
    for form, piece in product(
        _SINGLE,
        (
            b".",
            b"%2e",
            b"%00",
            b"%0a",
            b"%20",
            b"%25",
            b"%5c",
            b";a=b",
            b"\xc3\xa9",
            b"%C3%A9",
            b"%ff",
            b"[x]",
            b"%5Bx%5D",
        ),
    )
]
_ENCODED = (
    b"/%70rivate/x /%2570rivate/x /pr%69vate/x /privat%65/x /private%2Fx /%2Fprivate/x /PRIVATE/x /Private/x "
    b"/%50rivate/x /private/%78 /private/x%2F..%2F..%2Fy /private/x%2f%2e%2e%2f%2e%2e%2fy /x%2F..%2Fprivate/y "
    b"/%2e/private/x /%2e%2e/private/x /x/%2e%2e/private/y /x/a%2Fb/../../private/y /x/a%2fb/%2e%2e/%2E%2E/private/y "
    b"/x/a%2F/../private/y /private/a%2F../../y /private/%%32e%%32e/x /private/%zz/x /private/% /private/%2 "
    b"/%u0070rivate/x /private%3Fx /private/x%23y /private/%2e%2e%2fx /private..%2fx /private%2f..%2fx "
    b"/private/..%252fx"
).split()
_VOID = (
    b"// /// //private/x ///private/x /private//x /private///x /x//../private/y /private//../x /private///../../x "
    b"/private//x/../../y /private//./../x /private/.//../x /private/..//x /x/..//private/y //x/../private/y "
    b"//../private/x /./private/x /.//private/x //./private/x /private/. /private/./ /private/.. /private/../ "
    b"/private// /private//. /private//.. /files//private/secret.txt /files/private/secret.txt "
    b"/files/./private/secret.txt /files/x/../private/secret.txt /files//../files/private/secret.txt "
    b"/files/private//../x /files/private//secret.txt /files/private%2Fsecret.txt /files/priv%61te/secret.txt "
    b"/files/private/../public.txt /files/public.txt /files/x/a%2Fb/../../private/secret.txt "
    b"/files/private/..%2Fpublic.txt /files//private/../private/secret.txt /private/files/secret.txt "
    b"/private//files/secret.txt /x/../private/files/secret.txt /x//../private/files/secret.txt"
).split()
_FORMS = (
    b"/ * ? /? # /# private/x ../private/x ./private/x //h/private/x /private /private? /private?x /private/x?y "
    b"/private;x/y /private/;/../x /x?/../private/y /x?/private/y /x#/../private/y /private#/../x /x%3F/../private/y "
    b"http://h http://h/ http://h/private/x http://h/private//../x http://h/x/a%2Fb/../../private/y "
    b"http://h//private/x http://h/../private/x http://h?/private/x http://h/%70rivate/x http://private/x "
    b"HTTP://H/x/../private/y http://h:80/private/x http://u@h/private/x http:///private/x ftp://h/private/x "
    b"https://h/private/x http:/private/x /http://h/private/x /x/http://h/../../../private/y"
).split()
_LONG = [
    b"/private/" + b"a" * 3000,
    b"/" + b"a/../" * 700 + b"private/x",
    b"/private/" + b"../x/" * 700,
    b"/" + b"a" * 9000,
    b"/" + b"a/" * 1500 + b"../" * 1500 + b"private/x",
    b"/" + b"/" * 3000 + b"private/x",
]

TARGETS = list(
    dict.fromkeys(
        [b"/private/x", *_VOID, *_FORMS, *_ENCODED, *_CLIMBS, *_SEPARATORS, *_HIDDEN, *_CHARACTERS, *_DOTS, *_LONG]
    )
)
"""Each target once. The rules of the front servers are for what is below `/private/` and `/files/private/`."""


def below_prefix(target: bytes) -> bytes:
    """The target with PREFIX before its path: `/app../private/x` for `../private/x`."""
    scheme, separator, rest = target.partition(b"://")
    if target.startswith(b"http") and separator:
        authority, slash, path = rest.partition(b"/")
        return scheme + separator + authority + PREFIX + slash + path
    return target if target in (b"*", b"?", b"#") else PREFIX + target
