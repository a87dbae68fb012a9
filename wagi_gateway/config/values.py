"""The types of settings: notation, parsing and validation of durations, sizes, addresses and names."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, ByteSize, SecretStr, WithJsonSchema
from pydantic_core import PydanticCustomError

from ..cgi.environ import META_VARIABLES
from ..cgi.request import Authority
from ..errors import BadRequest
from ..outbound.policy import AllowedHost
from ..outbound.proxy import Proxy
from .image_reference import check_mirror, check_registry

RESERVED = "reserved_variable"
"""The type of a validation error: a variable has a name that each request sets."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LISTEN = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]\s]*)):(?P<port>\d{1,9})", re.ASCII)
_MAX_PORT = 65535


def parse_duration(value: object) -> object:
    """The seconds of `"30s"`, `"250ms"` or `"5m"`; a number is returned as it is. Raises ValueError."""
    if isinstance(value, str):
        if match := _DURATION.fullmatch(value):
            return float(match[1]) * _SECONDS[match[2]]
        raise ValueError('not a duration; write for example "30s", "250ms" or "5m"')
    if isinstance(value, bool):
        raise ValueError('not a duration; write for example "30s"')
    return value


def parse_listen(value: str) -> tuple[str, int]:
    """`HOST:PORT` as (host, port); an IPv6 address is in brackets, an empty host means every IPv4 address.

    Raises ValueError.
    """
    match = _LISTEN.fullmatch(value)
    if not match:
        raise ValueError('not HOST:PORT; write for example "127.0.0.1:3000", "[::1]:3000" or ":3000"')
    if int(match["port"]) > _MAX_PORT:
        raise ValueError(f"there is no port {match['port']}; write one of 1 to {_MAX_PORT}, or 0 for any that is free")
    return match["v6"] or match["host"] or "0.0.0.0", int(match["port"])  # noqa: S104 - the user wrote ":PORT"


_DESCRIPTOR = re.compile(r"fd:([3-9]|[1-9]\d{1,3})")


def parse_descriptor(value: str) -> int | None:
    """The number in `fd:3`, or None for an address of another kind."""
    match = _DESCRIPTOR.fullmatch(value)
    return int(match[1]) if match else None


def parse_unix(value: str) -> str | None:
    """The path in `unix:/run/wagi.sock`, or None for an address of another kind."""
    return value.removeprefix("unix:") if value.startswith("unix:") else None


def is_local(host: str) -> bool:
    """Whether a host is `localhost` or a loopback address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() in ("localhost", "localhost.")


def is_private(listen: str) -> bool:
    """Whether only this host can reach an address; a descriptor (`fd:3`) counts as private."""
    if parse_unix(listen) is not None or parse_descriptor(listen) is not None:
        return True
    return is_local(parse_listen(listen)[0])


def _refuse_boolean(value: object) -> object:
    if isinstance(value, bool):  # Python counts booleans as integers
        raise ValueError('not a size; write for example "16MiB"')
    return value


def _check_listen(value: str) -> str:
    path = parse_unix(value)
    if path is not None:
        if not path or "\0" in path:
            raise ValueError('write the path of the socket, such as "unix:/run/wagi-gateway/wagi.sock"')
    elif value.startswith("fd:"):
        if parse_descriptor(value) is None:
            raise ValueError('write the number of the descriptor, 3 or more, such as "fd:3"')
    else:
        try:
            parse_listen(value)
        except ValueError as error:
            if _LISTEN.fullmatch(value):  # but for the port
                raise
            raise ValueError(f'{error}, or "unix:/run/wagi.sock", or "fd:3" for a socket of systemd') from None
    return value


def _parse_proxies(value: object) -> object:
    if isinstance(value, str) and value != "unix":
        try:
            network = ip_network(value)
            # REMOTE_ADDR, too, has the IPv4 form of an IPv4-mapped address (RFC 4291 section 2.5.5.2).
            if isinstance(network, IPv6Network) and network.prefixlen >= 96:
                mapped = network.network_address.ipv4_mapped
                return ip_network((mapped, network.prefixlen - 96)) if mapped else network
            return network
        except ValueError:
            raise ValueError('not an address or network; write for example "10.0.0.0/8", or "unix"') from None
    return value


def _check_prefix_route(value: str) -> str:
    if not value.endswith("/..."):
        raise ValueError(f'a directory answers everything below a path; write "{value.rstrip("/")}/..."')
    return value


def _check_hostname(value: str) -> str:
    try:
        Authority.parse(value.encode())
    except BadRequest:
        raise ValueError("not HOST or HOST:PORT") from None
    return value


def check_reserved(name: str) -> str:
    """The name of an environment variable, unless CGI or WAGI gives the name a meaning (RFC 3875 section 4.1).

    Raises PydanticCustomError, a ValueError of the type RESERVED.
    """
    if name in META_VARIABLES:
        raise PydanticCustomError(RESERVED, "the request sets this variable; choose another name")
    return name


def _check_command(value: object) -> object:
    if isinstance(value, str):
        raise ValueError('write the words of the command, which no shell reads: ["cargo", "build", "--release"]')
    return value


def _check_program(command: tuple[str, ...]) -> tuple[str, ...]:
    if command and not command[0].strip():
        raise ValueError("the first word is the program; write its name")
    return command


def _check_allowed_host(entry: str) -> str:
    AllowedHost.parse(entry)
    return entry


def _check_proxy(proxy: SecretStr) -> SecretStr:
    Proxy.parse(proxy.get_secret_value())
    return proxy


def _matches(pattern: str, what: str) -> AfterValidator:
    """Accepts text that the pattern matches as a whole; else `what` is the error."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(what)
        return value

    return AfterValidator(check)


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema({"type": ["string", "number"], "pattern": r"^\d+(\.\d+)?(ms|s|m|h)$"}),
]
_SIZE_PATTERN = r"^\s*\d*\.?\d+\s*(([kKmMgGtTpPeE][iI]?)?[bB])?$"
Size = Annotated[
    ByteSize,
    BeforeValidator(_refuse_boolean),
    WithJsonSchema({"type": ["string", "integer"], "pattern": _SIZE_PATTERN}),
]
Listen = Annotated[str, AfterValidator(_check_listen)]
Proxies = Annotated[IPv4Network | IPv6Network | Literal["unix"], BeforeValidator(_parse_proxies)]
Hostname = Annotated[str, AfterValidator(_check_hostname)]
Mode = Annotated[str, _matches("0?[0-7]{3}", 'not a mode; write for example "0660"')]
PrefixRoute = Annotated[str, AfterValidator(_check_prefix_route)]
FieldValue = Annotated[str, _matches(r"([!-~]([ -~]*[!-~])?)?", "not the value of a header field")]
Charset = Annotated[str, _matches("[A-Za-z0-9][A-Za-z0-9._:+-]{0,39}", 'not a charset; write "iso-8859-1"')]
Directory = Annotated[str, _matches(r"[^\0]*", "the path of a directory must not contain NUL")]
FileName = Annotated[str, _matches(r"[^/\0.][^/\0]*", 'not a file name; write for example "index.php"')]
RelativePath = Annotated[
    str,
    _matches(r"(?:[^/\0.][^/\0]*/)*[^/\0.][^/\0]*", 'not a path below the directory; write for example "index.php"'),
]
Suffix = Annotated[str, _matches(r"\.[A-Za-z0-9_-]+", 'not a suffix; write for example ".php"')]
BuildPath = Annotated[str, _matches(r"[^\0]+", "a path must not be empty and must not contain NUL")]
BuildCommand = Annotated[
    tuple[Annotated[str, _matches(r"[^\0]*", "a word of a command must not contain NUL")], ...],
    BeforeValidator(_check_command),
    AfterValidator(_check_program),
]
HostEntry = Annotated[str, AfterValidator(_check_allowed_host)]
ProxyUrl = Annotated[SecretStr, AfterValidator(_check_proxy)]
RegistryHost = Annotated[str, AfterValidator(check_registry)]
Mirror = Annotated[str, AfterValidator(check_mirror)]
VariableName = Annotated[
    str,
    _matches(r"[^=\0]+", "a variable's name must not be empty and must not contain '=' or NUL"),
    AfterValidator(check_reserved),
]
VariableValue = Annotated[str, _matches(r"[^\0]*", "a variable's value must not contain NUL")]
Environment = dict[VariableName, VariableValue]
PullPolicy = Literal["always", "if-not-present", "never"]

_UNITS = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def as_written(value: object, annotation: object) -> str:
    """A value as TOML source: `true`, `"text"`, and without quotes `16MiB` for ByteSize and `30s` for float."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if annotation is ByteSize and isinstance(value, (int, float)):
        unit, size = next(((unit, size) for unit, size in _UNITS if value % size == 0), ("B", 1))
        return f"{int(value) // size}{unit}"
    if annotation is float and isinstance(value, (int, float)):
        return f"{value / 3600:g}h" if value and value % 3600 == 0 else f"{value:g}s"
    return str(value)
