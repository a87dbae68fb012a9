"""certbot's hook, with other names and paths, and a gateway with TLS."""

from __future__ import annotations

import os
import shutil
import ssl
import stat
import subprocess
from pathlib import Path

import trustme

from tests.conftest import ROOT, running
from tests.support import guests
from tests.support.config import config, guest

HOOK = ROOT / "deploy/certbot/wagi-gateway"
DROP_IN = ROOT / "deploy/systemd/wagi-gateway.service.d/tls.conf"
TLS = {"tls_cert": "tls/fullchain.pem", "tls_key": "tls/privkey.pem"}


def renew(lineage: Path) -> str:
    """Issues a new certificate in certbot's layout of files."""
    issued = trustme.CA().issue_cert("wagi.example.com")
    lineage.mkdir(parents=True, exist_ok=True)
    for name, blobs in (("fullchain", issued.cert_chain_pems), ("privkey", [issued.private_key_pem])):
        (lineage / f"{name}.pem").write_bytes(b"".join(blob.bytes() for blob in blobs))
        (lineage / f"{name}.pem").chmod(0o600)
    return issued.cert_chain_pems[0].bytes().decode()


def test_a_renewed_certificate_is_served(tmp_path: Path, cache: Path) -> None:
    """A stand-in for `systemctl` runs the command of ExecReload=."""
    live, etc, programs, process = (tmp_path / name for name in ("live", "etc", "programs", "process"))
    for directory in (etc, programs):
        directory.mkdir()
    (etc / "hello.wat").write_text(guests.HELLO)
    (programs / "systemctl").write_text(f'#!/bin/sh\n[ ! -e {process} ] || kill -HUP "$(cat {process})"\n')
    (programs / "systemctl").chmod(0o755)
    text = HOOK.read_text()
    for published, own in (
        ("/etc/letsencrypt/live", str(live)),
        ("/etc/wagi-gateway", str(etc)),
        ("-g wagi-tls", f"-g {os.getegid()}"),
    ):
        assert published in text
        text = text.replace(published, own)
    hook = tmp_path / "hook"
    hook.write_text(text)
    shutil.copymode(HOOK, hook)

    def run(name: str) -> str:
        certificate = renew(live / name)
        environment = {"RENEWED_LINEAGE": str(live / name), "PATH": f"{programs}:{os.environ['PATH']}"}
        subprocess.run([hook], env=environment, check=True)
        return certificate

    first = run("wagi.example.com")
    assert {path.name: stat.filemode(path.stat().st_mode) for path in (etc / "tls").iterdir()} == {
        "fullchain.pem": "-rw-r-----",
        "privkey.pem": "-rw-r-----",
    }
    with running(etc, config(guest("/hello", "hello"), server=TLS), cache=cache) as server:
        process.write_text(str(server.process.pid))
        assert ssl.get_server_certificate(server.address) == first
        second = run("wagi.example.com")
        server.wait_for_log("reloaded: ")
        assert ssl.get_server_certificate(server.address) == second
        run("another.example.com")  # of another server
        assert ssl.get_server_certificate(server.address) == second
        assert server.log.count("reloaded: ") == 1


def test_the_hook_and_the_service_name_the_same_group() -> None:
    assert "\nSupplementaryGroups=wagi-tls\n" in DROP_IN.read_text()
    assert HOOK.read_text().count("-g wagi-tls ") == 2
