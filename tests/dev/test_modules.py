"""The modules of a site as documents."""

from __future__ import annotations

from pathlib import Path

import wasmtime

from tests.support import guests
from tests.support.config import guest, module
from tests.support.recordings import recording
from wagi_gateway.config.file import read_config
from wagi_gateway.dev.builds import BuildResult, Builds
from wagi_gateway.dev.history import History
from wagi_gateway.dev.modules import Modules
from wagi_gateway.sandbox.invocation import Outcome
from wagi_gateway.site.load import load


def test_a_document(tmp_path: Path) -> None:
    (tmp_path / "x.wasm").write_bytes(bytes(wasmtime.wat2wasm(guests.HELLO)))
    (tmp_path / "m.wat").write_text(guests.HELLO)
    text = module("/x", "x.wasm", volumes={"/d": {"path": ".", "read_only": True}}) + guest("/y", "m")
    (tmp_path / "modules.toml").write_text(text)
    site = load(read_config(tmp_path / "modules.toml"))
    builds = Builds(lambda *_: None)
    builds.results["/x"] = BuildResult("/x", "make", code=0, seconds=1.0)
    history = History()
    for seconds in (0.1, 0.2, 0.6):
        recording(history=history, outcome=Outcome("exit", seconds=seconds, memory=65536), stdout=b"abc")
    first, second = Modules(tmp_path, builds).documents(site, history)
    assert (first["route"], first["count"], first["source"]) == ("/x", 3, "x.wasm")
    assert first["imports"] == ["wasi_snapshot_preview1.fd_write  func (i32, i32, i32, i32) -> (i32)"]
    assert first["volumes"] == [{"guest": "/d", "read_only": True}]
    assert first["has_lines"] is False
    uses = {use["name"]: (use["median"], use["max"]) for use in first["uses"]}  # type: ignore[attr-defined]
    assert uses["time"] == (0.2, 0.6)
    assert uses["stdout"] == (3, 3)
    assert first["build"]["command"] == "make"  # type: ignore[index]
    assert (second["build"], second["imports"], second["count"]) == (None, first["imports"], 0)


def test_a_file_that_has_gone(tmp_path: Path) -> None:
    modules = Modules(tmp_path, Builds(lambda *_: None))
    assert modules._interface("gone.wasm", "")["size"] is None
    assert modules._interface("oci:localhost/x:1", "")["size"] is None
    (tmp_path / "bad.wasm").write_bytes(b"\0asm\1\0\0\0\xff")
    assert modules._interface("bad.wasm", "")["imports"] == []
