"""Real front servers that refuse what is below `/private/` and `/files/private/`, and forward the rest to a gateway."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.nginx_conf import nginx_conf
from tests.conftest import wait_until
from tests.support.nginx import Address, accepts, free_addresses, nginx_command

from .targets import PREFIX

_APP = PREFIX.decode()
_NGINX_DENY = "location {0}/private/ {{ return 403; }} location {0}/files/private/ {{ return 403; }}"
_PLAIN, _BELOW = _NGINX_DENY.format(""), _NGINX_DENY.format(_APP)
_APACHE_DENY = "".join(
    f"<Location {{0}}{path}>\nRequire all denied\n</Location>\n" for path in ("/private/", "/files/private/")
)
_ALLOW_SLASHES = "AllowEncodedSlashes {}\nProxyPass / http://gateway/ nocanon\n"
_CADDY_DENY = "@private path {0}/private/* {0}/files/private/*\nhandle @private {{\nrespond 403\n}}\n"
_HAPROXY_DENY = "http-request deny if { path_beg /private/ /files/private/ }\n"
_HAPROXY_SERVER = "server gateway http://gateway\n"
_NORMALIZE = "".join(
    f"http-request normalize-uri {how}\n"
    for how in ("percent-decode-unreserved strict", "path-merge-slashes", "path-strip-dot", "path-strip-dotdot full")
)


@dataclass(frozen=True, slots=True)
class Front:
    """A configuration of a front server."""

    server: str
    """`nginx`, `apache`, `caddy` or `haproxy`."""
    rules: str
    """The directives of one virtual server, in which `http://gateway` stands for the gateway's URL."""
    has_prefix: bool = False
    """Whether the paths of the gateway are below PREFIX."""


FRONTS = {
    "nginx": Front("nginx", _PLAIN + "location / { proxy_pass http://gateway; }"),
    "nginx, merge_slashes off": Front(
        "nginx", "merge_slashes off;" + _PLAIN + "location / { proxy_pass http://gateway; }"
    ),
    "nginx, URI": Front("nginx", _PLAIN + "location / { proxy_pass http://gateway/; }"),
    "nginx, regex": Front(
        "nginx",
        "location ~ ^/private/ { return 403; } location ~ ^/files/private/ { return 403; }"
        "location ~ ^/ { proxy_pass http://gateway; }",
    ),
    "nginx, $request_uri": Front("nginx", _PLAIN + "location / { proxy_pass http://gateway$request_uri; }"),
    "nginx, /app/ URI": Front("nginx", _BELOW + f"location {_APP}/ {{ proxy_pass http://gateway/; }}", has_prefix=True),
    "nginx, /app/ URI, merge_slashes off": Front(
        "nginx", "merge_slashes off;" + _BELOW + f"location {_APP}/ {{ proxy_pass http://gateway/; }}", has_prefix=True
    ),
    "nginx, /app/ rewrite": Front(
        "nginx",
        _BELOW + f"location {_APP}/ {{ rewrite ^{_APP}(/.*)$ $1 break; proxy_pass http://gateway; }}",
        has_prefix=True,
    ),
    "Apache": Front("apache", _APACHE_DENY.format("") + "ProxyPass / http://gateway/\n"),
    "Apache, nocanon, NoDecode": Front("apache", _APACHE_DENY.format("") + _ALLOW_SLASHES.format("NoDecode")),
    "Apache, nocanon, On": Front("apache", _APACHE_DENY.format("") + _ALLOW_SLASHES.format("On")),
    "Apache, nocanon, MergeSlashes Off": Front(
        "apache", "MergeSlashes Off\n" + _APACHE_DENY.format("") + _ALLOW_SLASHES.format("NoDecode")
    ),
    "Apache, ProxyPass !": Front(
        "apache",
        "ProxyPass /private/ !\nProxyPass /files/private/ !\n" + _ALLOW_SLASHES.format("On"),
    ),
    "Apache, ProxyPassMatch": Front("apache", _APACHE_DENY.format("") + "ProxyPassMatch ^/(.*)$ http://gateway/$1\n"),
    "Apache, RewriteRule": Front(
        "apache",
        f"{_APACHE_DENY.format(_APP)}RewriteEngine On\nRewriteRule ^{_APP}/(.*)$ http://gateway/$1 [P]\n",
        has_prefix=True,
    ),
    "Apache, /app/": Front(
        "apache", _APACHE_DENY.format(_APP) + f"ProxyPass {_APP}/ http://gateway/\n", has_prefix=True
    ),
    "Caddy": Front("caddy", _CADDY_DENY.format("") + "handle {\nreverse_proxy http://gateway\n}\n"),
    "Caddy, handle_path": Front(
        "caddy",
        f"handle_path {_APP}/* {{\n{_CADDY_DENY.format('')}handle {{\nreverse_proxy http://gateway\n}}\n}}\n",
        has_prefix=True,
    ),
    "HAProxy, normalize-uri": Front("haproxy", _NORMALIZE + _HAPROXY_DENY + _HAPROXY_SERVER),
}
"""The configurations whose rules hold."""
UNSAFE = {
    "nginx, captures": Front(
        "nginx",
        _BELOW.replace("location ", "location ^~ ") + f"location ~ ^{_APP}/(.*)$ {{ proxy_pass http://gateway/$1; }}",
        has_prefix=True,
    ),
    "nginx, regex before prefix": Front("nginx", _PLAIN + "location ~ ^/ { proxy_pass http://gateway; }"),
    "nginx, /app URI": Front("nginx", _BELOW + f"location {_APP} {{ proxy_pass http://gateway/; }}", has_prefix=True),
    "Caddy, rule before handle_path": Front(
        "caddy",
        _CADDY_DENY.format(_APP) + f"handle_path {_APP}/* {{\nreverse_proxy http://gateway\n}}\n",
        has_prefix=True,
    ),
    "HAProxy, raw path": Front("haproxy", _HAPROXY_DENY + _HAPROXY_SERVER),
}
"""The configurations that docs/behind-a-proxy.md warns of: requests pass their rules whatever the gateway does."""

_APACHE = """
ServerRoot {directory}
ServerName h
DefaultRuntimeDir {directory}
PidFile {directory}/apache.pid
ErrorLog {directory}/error.log
User nobody
Group nogroup
LimitRequestLine 16000
{modules}
{servers}
"""
_APACHE_MODULES = ("mpm_event", "authz_core", "proxy", "proxy_http", "rewrite")
_HAPROXY = """
global
  expose-experimental-directives
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
{servers}
"""


@contextmanager
def running_fronts(directory: Path, gateway: Address, fronts: dict[str, Front]) -> Iterator[dict[str, Address]]:
    """Runs every front server with all of its configurations, each on an address of its own, until the context ends."""
    addresses = dict(zip(fronts, free_addresses(len(fronts)), strict=True))
    upstream = f"http://{gateway[0]}:{gateway[1]}"
    with ExitStack() as stack:
        for server, command in (("nginx", _nginx), ("apache", _apache), ("caddy", _caddy), ("haproxy", _haproxy)):
            own = [
                (addresses[name], front.rules.replace("http://gateway", upstream))
                for name, front in fronts.items()
                if front.server == server
            ]
            if own:
                (directory / server).mkdir()
                arguments = command(directory / server, own)
                stack.enter_context(_running(directory / server, arguments, [address for address, _ in own]))
        yield addresses


@contextmanager
def _running(directory: Path, arguments: list[str], addresses: list[Address]) -> Iterator[None]:
    output = directory / "output"
    environment = os.environ | {
        "HOME": str(directory),
        "XDG_DATA_HOME": str(directory),
        "XDG_CONFIG_HOME": str(directory),
    }
    with output.open("w") as file:
        process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment)
    try:
        wait_until(
            lambda: process.poll() is not None or all(map(accepts, addresses)), timeout=60, message=output.read_text
        )
        assert process.poll() is None, output.read_text()
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def _installed(command: str, package: str) -> str:
    """The path of a command; its absence fails the test rather than skipping it."""
    found = shutil.which(command, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if not found:
        pytest.fail(f"{command} is not installed: install the Debian package {package}", pytrace=False)
    return found


def _nginx(directory: Path, servers: list[tuple[Address, str]]) -> list[str]:
    text = "".join(f"server {{ listen {host}:{port}; {rules} }}\n" for (host, port), rules in servers)
    http = f"access_log off; large_client_header_buffers 4 16k; proxy_http_version 1.1;\n{text}"
    (directory / "nginx.conf").write_text(nginx_conf(directory, http, error_log=f"{directory}/error.log"))
    return [nginx_command(), "-p", str(directory), "-c", str(directory / "nginx.conf")]


def _apache(directory: Path, servers: list[tuple[Address, str]]) -> list[str]:
    modules = "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n" for name in _APACHE_MODULES)
    text = "".join(
        f"Listen {host}:{port}\n<VirtualHost {host}:{port}>\n{rules}</VirtualHost>\n" for (host, port), rules in servers
    )
    text = _APACHE.format(directory=directory, modules=modules, servers=text)
    (directory / "apache.conf").write_text(text)
    return [
        _installed("apache2", "apache2-bin"),
        "-d",
        str(directory),
        "-f",
        str(directory / "apache.conf"),
        "-DFOREGROUND",
    ]


def _caddy(directory: Path, servers: list[tuple[Address, str]]) -> list[str]:
    text = "".join(f"http://:{port} {{\nbind {host}\n{rules}}}\n" for (host, port), rules in servers)
    (directory / "Caddyfile").write_text("{\nadmin off\nauto_https off\n}\n" + text)
    return [_installed("caddy", "caddy"), "run", "--config", str(directory / "Caddyfile"), "--adapter", "caddyfile"]


def _haproxy(directory: Path, servers: list[tuple[Address, str]]) -> list[str]:
    text = "".join(
        f"listen front{number}\nbind {host}:{port}\n{rules}" for number, ((host, port), rules) in enumerate(servers)
    )
    (directory / "haproxy.cfg").write_text(_HAPROXY.format(servers=text.replace("gateway http://", "gateway ")))
    return [_installed("haproxy", "haproxy"), "-db", "-f", str(directory / "haproxy.cfg")]


def versions() -> str:
    """The versions of the front servers, which the table names."""
    commands = (
        [nginx_command(), "-v"],
        [_installed("apache2", "apache2-bin"), "-v"],
        [_installed("caddy", "caddy"), "version"],
        [_installed("haproxy", "haproxy"), "-v"],
    )
    lines = [subprocess.run(command, capture_output=True, text=True, check=True, timeout=20) for command in commands]
    first = [(done.stdout + done.stderr).splitlines()[0] for done in lines]
    words = [word for line in first for word in line.replace("/", " ").split() if word[:1].isdigit()]
    nginx, apache, caddy, haproxy = [word for word in words if word.count(".") >= 2][:4]
    return f"nginx {nginx}, Apache {apache}, Caddy {caddy}, HAProxy {haproxy.partition('-')[0]}"
