"""nginx and fcgiwrap: FastCGI to a process that forks and executes the CGI program."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from scripts.nginx_conf import nginx_conf

from ..harness.cores import SERVER
from ..harness.process import started, wait_until
from ..harness.server import Server
from .peer import find, free_port, native_hello, peer

_HTTP = """
  access_log off;
  keepalive_requests 100000000;
  upstream wrap {{ server unix:{socket}; keepalive 16; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      fastcgi_pass wrap;
      fastcgi_param SCRIPT_FILENAME {program};
      fastcgi_param QUERY_STRING $query_string;
      fastcgi_param REQUEST_METHOD $request_method;
      fastcgi_param REQUEST_URI $request_uri;
      fastcgi_param REDIRECT_STATUS 200;
      fastcgi_param SCRIPT_NAME $fastcgi_script_name;
      fastcgi_param SERVER_PROTOCOL $server_protocol;
      fastcgi_param GATEWAY_INTERFACE CGI/1.1;
      fastcgi_param REMOTE_ADDR $remote_addr;
      fastcgi_param SERVER_NAME $server_name;
      fastcgi_param SERVER_PORT $server_port;
    }}
  }}
"""
_CHILDREN = 16
"""Processes of fcgiwrap: as many as connections."""


@contextlib.contextmanager
def nginx(directory: Path, program: Path | None = None) -> Iterator[Server]:
    """Serves the native program, or another executable file."""
    program, port, socket = program or native_hello(directory), free_port(), directory / "wrap"
    config = directory / "nginx.conf"
    http = _HTTP.format(program=program, port=port, socket=socket)
    config.write_text(nginx_conf(directory, http, error_log="stderr error"))
    wrap = [find("fcgiwrap", "fcgiwrap"), "-c", str(_CHILDREN), "-s", f"unix:{socket}"]
    log = directory / "fcgiwrap.log"
    # fcgiwrap is not paused while other servers are measured: it sleeps without requests.
    with started(wrap, SERVER, log) as process:
        wait_until(process, "fcgiwrap", socket.exists, log)
        command = [find("nginx", "nginx"), "-e", str(directory / "log"), "-c", str(config)]
        with peer(command, port, "", directory, process) as server:
            server.is_accounted = False  # fcgiwrap ignores SIGCHLD
            yield server
