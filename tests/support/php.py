"""php-cgi for WASI, as scripts/build-php builds it, and native php-cgi behind nginx."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import ROOT, wait_until
from tests.support.nginx import free_addresses, running_nginx

BUILD = 1800.0
"""The timeout in seconds of a test that builds and compiles php-cgi: ten minutes of processor time at most."""
_HTTP = """
  access_log off;
  client_max_body_size 64m;
  types {{ text/css css; image/png png; text/html html; image/svg+xml svg; }}
  server {{
    listen {host}:{port};
    root {root};
    index index.php;
    location ~ ^(.+\\.php)(/.*)?$ {{
      include /etc/nginx/fastcgi_params;
      fastcgi_split_path_info ^(.+\\.php)(/.*)$;
      fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
      fastcgi_param PATH_INFO $fastcgi_path_info;
      fastcgi_param HTTP_HOST $http_host;
      fastcgi_pass unix:{socket};
    }}
  }}
"""


def php_cgi(cache: Path, folder: Path) -> Path:
    """The module php-cgi.wasm, linked into `folder` and compiled into the gateway's `cache`."""
    built = subprocess.run([ROOT / "scripts/build-php"], capture_output=True, text=True, timeout=BUILD, check=False)
    assert built.returncode == 0, built.stderr
    module = folder / "php-cgi.wasm"
    module.symlink_to(built.stdout.strip())
    (folder / "modules.toml").write_text('[[module]]\nroute = "/..."\nmodule = "php-cgi.wasm"\n')
    command = [sys.executable, "-m", "wagi_gateway", "check", "--cache-dir", str(cache)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=BUILD)
    return module


@contextmanager
def native_php(directory: Path, root: Path, *settings: str) -> Iterator[str]:
    """The URL of nginx with native php-cgi for the scripts of `root`; `settings` are those of php.ini."""
    program = shutil.which("php-cgi")
    if not program:
        pytest.fail("php-cgi is not installed: install the Debian package php-cgi", pytrace=False)
    socket = directory / "php"
    options = [part for setting in settings for part in ("-d", setting)]
    with (directory / "php.log").open("w") as log:
        process = subprocess.Popen([program, "-n", *options, "-b", str(socket)], stderr=log)
    try:
        wait_until(socket.exists, message=(directory / "php.log").read_text)
        [(host, port)] = free_addresses(1)
        http = _HTTP.format(host=host, port=port, root=root, socket=socket)
        with running_nginx(directory, http, (host, port)):
            yield f"http://{host}:{port}"
    finally:
        process.terminate()
        process.wait(30)
