"""The watch on files; the reload of a server is in tests/system/test_reload.py."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from wagi_gateway.config.file import ConfigFile
from wagi_gateway.config.settings import Config, ModuleConfig
from wagi_gateway.errors import Problem, StartupError
from wagi_gateway.server.autoreload import _wake_ups, _watched, watching


def config_file(directory: Path) -> ConfigFile:
    return ConfigFile(directory / "modules.toml", Config(module=(ModuleConfig(route="/a", module="a.wasm"),)))


def broken() -> ConfigFile:
    raise StartupError(Problem("", "broken"))


@pytest.mark.parametrize("name", ["modules.toml", "a.wasm"])
@pytest.mark.parametrize("how", ["write", "rename"])
def test_a_change_is_reported(tmp_path: Path, name: str, how: str) -> None:
    for file in ("modules.toml", "a.wasm"):
        (tmp_path / file).write_text("old")
    changed, is_read = threading.Event(), threading.Event()

    def read() -> ConfigFile:
        is_read.set()
        return config_file(tmp_path)

    with watching(read, [tmp_path / "modules.toml"], changed.set):
        assert is_read.wait(10)
        while not changed.wait(0.2):  # the first stamps may be taken after a change
            new = tmp_path / name if how == "write" else tmp_path / "new"
            new.write_text((tmp_path / name).read_text() + "new")
            new.replace(tmp_path / name)
    assert "changes" not in [thread.name for thread in threading.enumerate()]


def test_files_stay_watched_while_the_configuration_is_broken(tmp_path: Path) -> None:
    files = (tmp_path / "modules.toml",)
    before = _watched(lambda: config_file(tmp_path), files, {})
    assert before.keys() == {*files, tmp_path / "a.wasm"}
    assert _watched(broken, files, before).keys() == before.keys()


def test_a_file_behind_a_link_is_compared(tmp_path: Path) -> None:
    for name, text in {"one": "1", "two": "22"}.items():
        (tmp_path / name).write_text(text)
    link = tmp_path / "modules.toml"
    link.symlink_to("one")
    before = _watched(broken, (link,), {})
    (tmp_path / "other").symlink_to("two")
    (tmp_path / "other").replace(link)
    assert _watched(broken, (link,), before) != before


def test_without_a_directory_it_polls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wagi_gateway.server.autoreload._POLL_INTERVAL", 10)
    assert next(_wake_ups({tmp_path / "gone"}, threading.Event())) is None
