"""The watch on files; the reload of a server is in tests/system/test_reload.py."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from wagi_gateway.config.file import ConfigFile
from wagi_gateway.config.settings import Config, ModuleConfig
from wagi_gateway.errors import Problem, StartupError
from wagi_gateway.server.autoreload import _names, _wake_ups, _watch, _watched, watching


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


def test_the_log_names_what_has_changed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wagi_gateway")
    for file in ("modules.toml", "a.wasm"):
        (tmp_path / file).write_text("old")
    changed, is_read = threading.Event(), threading.Event()

    def read() -> ConfigFile:
        is_read.set()
        return config_file(tmp_path)

    with watching(read, [tmp_path / "modules.toml"], changed.set):
        assert is_read.wait(10)
        while not changed.wait(0.2):  # the first stamps may be taken after a change
            (tmp_path / "a.wasm").write_text((tmp_path / "a.wasm").read_text() + "new")
    assert caplog.messages[0] == "changed: a.wasm"


@pytest.mark.parametrize(
    ("stamps", "names"),
    [
        ({"/b/a.wasm": (1, 1, 1)}, "a.wasm"),
        ({"/b/x/a.wasm": (1, 1, 1), "/c/a.wasm": None}, "x/a.wasm, /c/a.wasm (removed)"),
        ({f"/b/{n}": (1, 1, 1) for n in range(7)}, "0, 1, 2, 3, 4, 2 more"),
    ],
    ids=["one", "elsewhere", "many"],
)
def test_names_of_changed_files(stamps: dict[str, tuple[int, int, int] | None], names: str) -> None:
    assert _names({Path(path): stamp for path, stamp in stamps.items()}, Path("/b")) == names


@pytest.mark.parametrize("is_replaced", [True, False], ids=["replaced", "gone"])
def test_a_build_may_remove_a_file_before_it_writes_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, is_replaced: bool
) -> None:
    """A reload between the two would fail. Each wake-up is a step of this test."""
    caplog.set_level(logging.INFO, "wagi_gateway")
    module = tmp_path / "a.wasm"
    module.write_text("old")
    stop = threading.Event()

    def wake_ups(_directories: object, _stop: object) -> Iterator[None]:
        yield None
        module.unlink()
        yield None
        yield None
        assert not changes
        if is_replaced:
            module.write_text("new")
        else:
            clock[0] += 10
        yield None
        stop.set()

    clock, changes = [100.0], []
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr("wagi_gateway.server.autoreload._wake_ups", wake_ups)
    _watch(lambda: config_file(tmp_path), (tmp_path / "modules.toml",), lambda: changes.append(1), stop)
    assert changes == [1]
    assert caplog.messages == ["changed: a.wasm" + ("" if is_replaced else " (removed)")]
