"""The resources of a guest, which end with it."""

from __future__ import annotations

import gc
from pathlib import Path

from tests.conftest import ROOT
from tests.support.config import module
from wagi_gateway.config.file import read_config
from wagi_gateway.gateway.guest_resources import GuestResources
from wagi_gateway.site.load import load


def test_outbound_calls_leave_nothing_to_the_garbage_collector(tmp_path: Path) -> None:
    """A full collection is rare; until then a cycle would keep the guest's site, and the certificates of the site."""
    config = tmp_path / "modules.toml"
    config.write_text(module("/", ROOT / "samples/c/http-example.wasm"))
    site = load(read_config(config))
    endpoint = site.routes[0][1]
    gc.collect()
    gc.disable()
    try:
        resources = GuestResources("/", "1")
        assert resources.open_outbound(endpoint)
        resources.end()
        del resources
        assert gc.collect() == 0
    finally:
        gc.enable()
        site.close()
