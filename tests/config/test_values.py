"""Types of settings: accepted notations and their values, and refused texts."""

from __future__ import annotations

import pytest
from pydantic import ByteSize, TypeAdapter, ValidationError

from wagi_gateway.cgi.environ import META_VARIABLES
from wagi_gateway.config.settings import ServerConfig
from wagi_gateway.config.values import (
    Environment,
    FieldValue,
    as_written,
    check_reserved,
    is_private,
    parse_descriptor,
    parse_duration,
    parse_listen,
)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("250ms", 0.25), ("5m", 300), ("1h", 3600), ("1.5s", 1.5), (7, 7)]
)
def test_durations(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "3", "3d", "-1s", "1 s", "1e3s"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:3000", ("127.0.0.1", 3000)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:80", ("::1", 80)),
        (":80", ("0.0.0.0", 80)),
    ],
)
def test_listen(text: str, address: tuple[str, int]) -> None:
    assert parse_listen(text) == address


@pytest.mark.parametrize(
    "text", ["", "80", "h", "h:", "h:x", "h:٣", "h:1234567890", "::1:80", "[::1]", "h:80:90", "http://h:80"]
)
def test_no_listen(text: str) -> None:
    with pytest.raises(ValueError, match="not HOST:PORT"):
        parse_listen(text)


@pytest.mark.parametrize("text", ["h:65536", ":99999", "[::1]:100000"])
def test_no_port(text: str) -> None:
    with pytest.raises(ValueError, match=rf"^there is no port {text.rpartition(':')[2]}; write one of 1 to 65535"):
        parse_listen(text)


@pytest.mark.parametrize("text", ["unix:/run/wagi.sock", "unix:relative", "fd:3", "fd:12"])
def test_listen_without_a_port(text: str) -> None:
    assert ServerConfig(listen=text).listen == text


@pytest.mark.parametrize("text", ["h", "h:80", "[::1]:8080", "www.example.com", "a%2fb"])
def test_hostnames(text: str) -> None:
    assert ServerConfig(hostname=text).hostname == text


@pytest.mark.parametrize("text", ["", "h:0", "h:65536", "user@h", "http://h", "[::1", "h/path", "bücher.example"])
def test_no_hostnames(text: str) -> None:
    with pytest.raises(ValidationError, match="not HOST or HOST:PORT"):
        ServerConfig(hostname=text)


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ("unix:/run/wagi.sock", True),
        ("fd:3", True),
        ("127.0.0.2:80", True),
        ("[::1]:80", True),
        ("LOCALHOST:80", True),
        ("localhost.:80", True),
        (":80", False),
        ("192.0.2.1:80", False),
        ("www.example.com:80", False),
    ],
)
def test_addresses_that_this_host_alone_can_reach(listen: str, *, expected: bool) -> None:
    assert is_private(listen) == expected


@pytest.mark.parametrize(("text", "number"), [("fd:3", 3), ("fd:9999", 9999), ("fd:2", None), ("fd:10000", None)])
def test_descriptors(text: str, number: int | None) -> None:
    assert parse_descriptor(text) == number


@pytest.mark.parametrize("mode", ["660", "0660", "000", "777"])
def test_modes(mode: str) -> None:
    assert ServerConfig(socket_mode=mode).socket_mode == mode


@pytest.mark.parametrize("mode", ["", "66", "1660", "0o660", "0680", "0660\n"])
def test_no_modes(mode: str) -> None:
    with pytest.raises(ValidationError, match="not a mode"):
        ServerConfig(socket_mode=mode)


@pytest.mark.parametrize("value", ["", "no-store", "max-age=60, public"])
def test_field_values(value: str) -> None:
    assert TypeAdapter(FieldValue).validate_python(value) == value


@pytest.mark.parametrize("value", [" a", "a ", "a\tb", "a\n", "a\r\nb", "é", "\x7f"])
def test_no_field_values(value: str) -> None:
    with pytest.raises(ValidationError, match="not the value of a header field"):
        TypeAdapter(FieldValue).validate_python(value)


@pytest.mark.parametrize("name", ["A", "a b", "HTTP_HOST", "é", "PATH"])
def test_names_of_variables(name: str) -> None:
    assert TypeAdapter(Environment).validate_python({name: "x=\n"}) == {name: "x=\n"}


@pytest.mark.parametrize(
    ("environment", "what"),
    [
        ({"": "x"}, "must not be empty and must not contain '=' or NUL"),
        ({"A=B": "x"}, "must not be empty and must not contain '=' or NUL"),
        ({"A\0": "x"}, "must not be empty and must not contain '=' or NUL"),
        ({"A": "\0"}, "a variable's value must not contain NUL"),
        ({"PATH_INFO": "x"}, "the request sets this variable; choose another name"),
    ],
)
def test_no_variables(environment: dict[str, str], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        TypeAdapter(Environment).validate_python(environment)


@pytest.mark.parametrize("name", sorted(META_VARIABLES))
def test_variables_of_the_request_are_reserved(name: str) -> None:
    with pytest.raises(ValueError, match=r"^the request sets this variable; choose another name$"):
        check_reserved(name)


@pytest.mark.parametrize(
    ("value", "annotation", "text"),
    [
        (True, bool, "true"),
        ("h", str, '"h"'),
        (2**30, ByteSize, "1GiB"),
        (3 * 2**19, ByteSize, "1536KiB"),
        (1000, ByteSize, "1000B"),
        (0, ByteSize, "0GiB"),
        (0.25, float, "0.25s"),
        (0.0, float, "0s"),
        (7200.0, float, "2h"),
        (90.0, float, "90s"),
        (3, int, "3"),
    ],
)
def test_values_as_one_writes_them(value: object, annotation: object, text: str) -> None:
    assert as_written(value, annotation) == text
