"""Apache with mod_cgid: a daemon forks the CGI programs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ..harness.server import Server
from .peer import find, free_port, native_hello, peer

_CONFIG = """
ServerRoot "{directory}"
ServerName localhost
Listen 127.0.0.1:{port}
{user}
PidFile {directory}/pid
ErrorLog {directory}/log
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule cgid_module {modules}/mod_cgid.so
ScriptSock {directory}/cgid
StartServers 1
ServerLimit 1
ThreadsPerChild 25
MaxRequestWorkers 25
KeepAlive On
MaxKeepAliveRequests 0
DocumentRoot "{directory}"
<Directory "{directory}">
    Require all granted
    Options ExecCGI
    SetHandler cgi-script
</Directory>
"""
_MODULES = "/usr/lib/apache2/modules"


@contextlib.contextmanager
def apache(directory: Path) -> Iterator[Server]:
    """Serves the native program."""
    program, port = native_hello(directory), free_port()
    config = directory / "apache.conf"
    user = "User www-data\nGroup www-data" if os.geteuid() == 0 else ""
    for parent in (directory, directory.parent) if user else ():
        parent.chmod(0o711)
    config.write_text(_CONFIG.format(directory=directory, port=port, user=user, modules=_MODULES))
    command = [find("apache2", "apache2-bin"), "-f", str(config), "-DFOREGROUND"]
    with peer(command, port, f"/{program.name}", directory) as server:
        server.is_accounted = False  # mod_cgid's daemon ignores SIGCHLD
        yield server
