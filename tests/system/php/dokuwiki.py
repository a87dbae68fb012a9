"""DokuWiki of Debian's source: one tree of code, and data of its own for each server."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from platformdirs import user_cache_path

_PACKAGE = "dokuwiki=0.0.20220731.a-2"
_ARCHIVE = "dokuwiki_0.0.20220731.a.orig.tar.gz"
_SHA256 = "48ed2ae11fa4a0ae8338af9aedc837601b34e21c0be15d16e2d6228ca7a91f23"
_NEEDLESS = re.compile(r"/_test/|/lang/(?!en/)|/install\.php$")
_SETTINGS = """<?php
$conf['title'] = 'Wiki';
$conf['savedir'] = is_dir('/wiki') ? '/wiki' : '{native}';
$conf['useacl'] = 0;
$conf['updatecheck'] = 0;
$conf['compression'] = 0;
$conf['gdlib'] = 0;
$conf['send404'] = 1;
"""


def install(folder: Path) -> Path:
    """Unpacks DokuWiki into `folder`/code, its data into `folder`/wasm and `folder`/native; returns the code's path."""
    with tarfile.open(_fetch()) as archive:
        members = [member for member in archive.getmembers() if not _NEEDLESS.search(member.name)]
        archive.extractall(folder, members, filter="data")
    code = folder / "code"
    next(folder.glob("dokuwiki-*")).rename(code)
    (code / "conf/local.php").write_text(_SETTINGS.format(native=folder / "native"))
    (code / "conf/plugins.local.php").write_text("<?php\n")  # else the first request writes it
    shutil.copytree(code / "data", folder / "native")
    (code / "data").rename(folder / "wasm")
    return code


def _fetch() -> Path:
    """The path of the source, fetched from Debian's archive unless it is kept already."""
    folder = Path(os.environ.get("WAGI_GATEWAY_TEST_MODULES") or user_cache_path("wagi-gateway-tests", appauthor=False))
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / _ARCHIVE
    if not (kept.exists() and hashlib.sha256(kept.read_bytes()).hexdigest() == _SHA256):
        command = ["apt-get", "download", "--print-uris", _PACKAGE]
        printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
        uri = printed.split("'")[1].rpartition("/")[0] + f"/{_ARCHIVE}"
        with tempfile.TemporaryDirectory(dir=folder) as work:
            helper = ["/usr/lib/apt/apt-helper", "download-file", uri, f"{work}/source", f"SHA256:{_SHA256}"]
            subprocess.run(helper, check=True, capture_output=True, timeout=300)
            Path(work, "source").replace(kept)
    return kept
