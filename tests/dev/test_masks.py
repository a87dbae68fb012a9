"""Secrets are masked wherever they appear."""

from __future__ import annotations

import base64

import pytest

from tests.support.recordings import head, recording
from wagi_gateway.build.secret_names import is_secret
from wagi_gateway.dev.masks import MASK, MAX_VALUES, Masks

BASIC = base64.b64encode(b"joe:opensesame")


@pytest.mark.parametrize(
    "name",
    "authorization cookie set-cookie proxy-authorization proxy-x HTTP_COOKIE HTTP_AUTHORIZATION HTTP_PROXY_X API_TOKEN"
    " db_password Secret x-api-key SSH_KEY CREDENTIALS DB_PASS pass PGPASSWORD passphrase x-jwt".split(),
)
def test_a_secret_name(name: str) -> None:
    assert is_secret(name.encode())


@pytest.mark.parametrize("name", "host accept QUERY_STRING HTTP_HOST x-own x-passenger compass".split())
def test_another_name(name: str) -> None:
    assert not is_secret(name.encode())


FIELDS = [
    (b"cookie", b'session=abcdefgh; theme="blueblue"'),
    (b"authorization", b"Basic " + BASIC),
    (b"x-api-token", b"tok-12345"),
    (b"referer", b"http://h/?password=pass%20word1"),
    (b"x-long-key", b"m" * 5000),
    (b"x-database", b"postgres://joe:of-a-database@db/x"),
]
SECRETS = [
    b"abcdefgh",
    b"blueblue",
    BASIC,
    b"opensesame",
    b"tok-12345",
    b"pass word1",
    b"geheim99",
    b"printed1",
    b"json-secret",
    b"formsecret",
    b"multi part",
    b'quoted"secret',
    b"of-a-database",
    b"m" * 5000,
]


@pytest.fixture
def masks() -> Masks:
    one = recording(
        head(fields=FIELDS, target=b"/x?a=1&token=geheim99"),
        stdout=b"content-type: text/plain\nset-cookie: id=printed1; path=/\n\nbody",
        body=b'{"password": "json-secret", "a": 1, "secret": "quoted\\"secret", "key": "\\q"}&secret=formsecret'
        b"\r\n--b\r\n"
        b'Content-Disposition: form-data; name="password"\r\nContent-Type: text/plain\r\n\r\nmulti part\r\n--b--',
    )
    return Masks.of(one)


@pytest.mark.parametrize("secret", SECRETS, ids=lambda secret: secret.decode()[:20])
def test_a_secret_value_is_masked_in_any_text(masks: Masks, secret: bytes) -> None:
    assert masks.hide(b"seen: <" + secret + b">") == b"seen: <" + MASK + b">"


def test_a_field_is_masked_as_a_whole(masks: Masks) -> None:
    assert masks.value(b"cookie", b"x=1") == MASK
    assert masks.value(b"accept", b"*/*") == b"*/*"
    assert masks.value(b"cookie", b"") == b""


def test_pairs_with_short_values_are_masked_in_their_place(masks: Masks) -> None:
    assert masks.hide_pairs(b"/x?key=1&a=1") == b"/x?key=" + MASK + b"&a=1"


def test_text_is_masked(masks: Masks) -> None:
    assert masks.text("no opensesame") == "no ••••••••"


def test_an_ordinary_text_stays(masks: Masks) -> None:
    assert masks.hide(b"content-type: text/plain") == b"content-type: text/plain"


def test_no_secret_and_no_mask() -> None:
    plain = Masks.of(recording())
    assert plain.hide(b"abc") == b"abc"
    revealed = Masks.of(recording(head(fields=FIELDS)), is_off=True)
    assert revealed.value(b"cookie", b"abcdefgh") == b"abcdefgh"
    assert revealed.hide_pairs(b"token=x") == b"token=x"


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "piece", [b"a", b"key", b"token=", b'"', b'"key"', b'"key":"', b"key ", b"=", b"&key", b'name="key"\r\n']
)
def test_a_large_hostile_body_is_looked_through(piece: bytes) -> None:
    one = recording(body=(piece * (1 << 20))[: 1 << 20], stdout=b"x: 1\n\n" + piece * 1000)
    one.is_over = True
    Masks.of(one).hide_pairs(one.body.content)


def test_many_values_are_bounded_and_uncover_no_value_of_the_operator() -> None:
    cookie = b"; ".join(b"c%d=value-%d" % (number, number) for number in range(2 * MAX_VALUES))
    one = recording(head(fields=[(b"cookie", cookie)]), body=b"&".join(b"key=%d" % number for number in range(10**5)))
    one.environ = {b"HTTP_COOKIE": cookie, b"API_TOKEN": b"of-the-operator"}
    one.is_over = True
    before = one.size
    masks = Masks.of(one)
    assert one.secrets is not None
    assert MAX_VALUES <= len(one.secrets) <= MAX_VALUES + 1
    assert one.size > before
    assert masks.hide(b"<of-the-operator>") == b"<" + MASK + b">"


def test_a_part_of_the_mask_is_no_value() -> None:
    parts = [MASK[:size] for size in range(4, len(MASK))]
    assert Masks([*parts, b"secret"]).hide(b"secret") == MASK


def test_credentials_that_are_not_base64_are_masked() -> None:
    masks = Masks.of(recording(head(fields=[(b"authorization", b"Bearer a!b!c!d")])))
    assert masks.hide(b"a!b!c!d") == MASK


def test_a_secret_at_the_edge_of_an_excerpt_is_masked() -> None:
    masks = Masks([b"opensesame"])
    data = b"a" * 5 + b"opensesame" + b"z" * 5
    assert masks.beginning(data, 8) == (b"a" * 5 + MASK)[:8]
    assert masks.end(data, 8) == (MASK + b"z" * 5)[-8:]
    assert masks.end(b"ab", 8) == masks.beginning(b"ab", 8) == b"ab"
