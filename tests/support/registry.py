"""A real registry: Debian's docker-registry on a loopback port of its own, plain, with TLS, or with a password."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

USERNAME, PASSWORD = "user", "correct horse"
# `htpasswd -nbB user 'correct horse'`; the registry accepts only bcrypt.
_HTPASSWD = "user:$2y$05$rcfoalosebRCu3LAHlxcduse8AP4bYxGY.yrMGHdW4.RZltGslQRG\n"
_START = 30.0
"""Seconds until the registry listens, at most; usually 20 ms."""
_LISTENING = re.compile(r"listening on (127\.0\.0\.1:\d+)")


@dataclass(frozen=True, slots=True)
class Registry:
    """A running docker-registry."""

    address: str
    """`127.0.0.1:PORT`."""
    ca_file: Path | None
    """The certificate of the authority, with TLS."""
    data: Path
    """The directory of the storage."""
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"{'https' if self.ca_file else 'http'}://{self.address}"

    def blobs(self) -> int:
        """The number of blobs, manifests included."""
        return sum(1 for _ in self.data.glob("docker/registry/v2/blobs/*/*/*/data"))

    def stop(self) -> None:
        """Ends the registry."""
        self.process.terminate()
        self.process.wait(10)


@contextmanager
def running_registry(
    directory: Path, *, tls: bool = False, password: bool = False, address: str = "127.0.0.1:0"
) -> Iterator[Registry]:
    """Runs an empty registry until the context ends; with `password` the registry requires USERNAME and PASSWORD."""
    command = installed("docker-registry")
    directory.mkdir(parents=True, exist_ok=True)
    ca_file = write_authority(directory) if tls else None
    config = directory / "config.yml"
    config.write_text(json.dumps(_config(directory, address, tls=tls, password=password)))  # JSON is YAML
    # REGISTRY_* would override the file, REGISTRY_AUTH_FILE of other tests included.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("REGISTRY_", "OTEL_"))}
    process = subprocess.Popen(
        [command, "serve", str(config)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    log: list[str] = []
    ready = threading.Event()
    reader = threading.Thread(target=_read, args=(process, log, ready))
    reader.start()
    try:
        assert ready.wait(_START), f"docker-registry is not ready in {_START} s:\n{''.join(log)}"
        match = _LISTENING.search("".join(log))
        assert match, f"docker-registry ended:\n{''.join(log)}"
        yield Registry(match[1], ca_file, directory / "data", process)
    finally:
        process.terminate()
        process.wait(10)
        reader.join()


def installed(program: str, package: str | None = None) -> str:
    """The path of a Debian package's program; its absence fails the test rather than skipping it."""
    found = shutil.which(program)
    if not found:
        pytest.fail(f"{program} is not installed: install the Debian package {package or program}", pytrace=False)
    return found


def write_authority(directory: Path) -> Path:
    """A private certificate authority, and `server.pem` by it for localhost and 127.0.0.1; the authority's file."""
    authority = trustme.CA()
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        str(directory / "server.pem")
    )
    certificates = directory / "certificates"  # skopeo requires a directory with files that end in .crt
    certificates.mkdir(exist_ok=True)
    authority.cert_pem.write_to_path(str(certificates / "ca.crt"))
    return certificates / "ca.crt"


def _config(directory: Path, address: str, *, tls: bool, password: bool) -> dict[str, object]:
    http: dict[str, object] = {"addr": address, "secret": "for tests"}
    config: dict[str, object] = {
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(directory / "data")}, "delete": {"enabled": True}},
        "http": http,
    }
    if tls:
        http["tls"] = {"certificate": str(directory / "server.pem"), "key": str(directory / "server.pem")}
    if password:
        (directory / "htpasswd").write_text(_HTPASSWD)
        config["auth"] = {"htpasswd": {"realm": "test", "path": str(directory / "htpasswd")}}
    return config


def _read(process: subprocess.Popen[str], log: list[str], ready: threading.Event) -> None:
    assert process.stderr
    with process.stderr:
        for line in process.stderr:
            log.append(line)
            if _LISTENING.search(line):
                ready.set()
    ready.set()
