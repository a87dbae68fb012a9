"""Manifests of other hosts, which the gateway does not read."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

from .finding import Finding

_CONVERT = "wagi-gateway convert {} prints its [[module]] tables; then remove it"
_UNREAD = "its modules are served by [[module]] in modules.toml; remove it"
_MANIFESTS = {
    "spin.toml": ("Spin", _CONVERT),
    "invoice.toml": ("Bindle", _UNREAD),
    "HIPPOFACTS": ("Hippo", _UNREAD),
    "slightfile.toml": ("SpiderLightning", _UNREAD),
    "wadm.yaml": ("wasmCloud", _UNREAD),
    "wasmcloud.toml": ("wasmCloud", _UNREAD),
    "wrangler.toml": ("Cloudflare Workers", _UNREAD),
    "fastly.toml": ("Fastly Compute", _UNREAD),
}


def foreign_manifests(directories: Iterable[Path]) -> Iterator[Finding]:
    """A warning for each manifest of another host in these directories."""
    for directory in dict.fromkeys(directories):
        for name, (host, advice) in _MANIFESTS.items():
            if (directory / name).is_file():
                what = f"{directory / name}: is a manifest for {host}, which nothing here reads"
                yield Finding("warning", what, advice.format(shlex.quote(str(directory / name))))
