"""The main context of an nginx configuration, as the tests and the benchmarks run nginx.

The module is here because tests import no benchmarks and benchmarks no tests, while both may import `scripts`.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

_MAIN = """
{user}
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {error_log};
events {{ worker_connections 1024; }}
http {{
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
{http}
}}
"""


def nginx_conf(directory: Path, http: str, *, error_log: str) -> str:
    """A configuration of nginx in the foreground with the directives `http` and all of its own files in `directory`."""
    # Workers of an nginx that root starts would run as another user, who cannot write to `directory`.
    user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
    return _MAIN.format(user=user, directory=directory, error_log=error_log, http=http)
