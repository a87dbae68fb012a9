"""The whole examination, with the start that `check` tries."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import guests
from tests.support.config import config, module
from wagi_gateway.config.file import read_config
from wagi_gateway.doctor.examination import examine
from wagi_gateway.site.load import load


def findings(folder: Path, text: str) -> list[tuple[str, str]]:
    path = folder / "modules.toml"
    path.write_text(text)
    return [(one.level, one.what.replace(str(folder), "FOLDER")) for one in examine(read_config(path), load)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "m.wat").write_text(guests.HELLO)
    return tmp_path


CACHE = {"cache": {"directory": "cache"}}
KEPT = ("ok", "compiled modules are kept in FOLDER/cache")


def test_a_folder_in_which_all_is_well(folder: Path) -> None:
    built = module("/m", "m.wat", build={"command": ["true"]})
    assert findings(folder, config(built, **CACHE)) == [
        ("ok", "/m: is built by true"),
        KEPT,
        ("ok", "FOLDER/modules.toml can be served: 1 route"),
    ]


def test_every_mistake_is_found(folder: Path) -> None:
    (folder / "spin.toml").touch()
    text = config(module("/m", "m.wat"), module("/n", "n.wat"), module("/m/:id", "m.wat"), **CACHE)
    found = findings(folder, text)
    assert found[:2] == [("warning", "FOLDER/spin.toml: is a manifest for Spin, which nothing here reads"), KEPT]
    what = 'FOLDER/modules.toml: [[module]] 2 (/n): module = "n.wat": there is no file FOLDER/n.wat'
    assert ("error", what) in found
    assert not any("can be served" in what for _, what in found)


def test_a_cache_that_is_refused_is_named(folder: Path) -> None:
    (folder / "cache").write_text("a file")
    found = findings(folder, config(module("/m", "m.wat"), **CACHE))
    assert KEPT not in found
    assert [what for level, what in found if level == "warning" and "FOLDER/cache" in what]
