"""Configuration files: `modules.toml`, the settings file of a Pod, and the directories of cache and log."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.config.reading import MINIMAL, read
from wagi_gateway.config.file import cache_directory, log_directory, log_files, read_config
from wagi_gateway.errors import StartupError


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[[module", "is not valid TOML"),
        (b"\xff", "is not UTF-8 text"),
        (None, "cannot be read"),
        (b"a = " + b"[" * 100_000, "nested more than 64 levels"),
        (b"a = " + b"[" * 65 + b"]" * 65, "nested more than 64 levels"),
        (b"a" + b".a" * 20_000 + b" = 1", "nested more than 64 levels"),
        (b"a = " + b"9" * 5000, "too many digits"),
    ],
    ids="open table|no text|no file|arrays|a few arrays|keys|digits".split("|"),
)
def test_nothing_to_read(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "modules.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StartupError, match=reason):
        read_config(path)


POD = """
apiVersion: v1
kind: Pod
metadata:
  name: hello
  annotations:
    alpha.wagi.krustlet.dev/default-host: "127.0.0.1:4000"
    alpha.wagi.krustlet.dev/modules: '{"hello": {"route": "/hello"}}'
spec:
  containers: [{name: hello, image: registry.example.com/hello:v1}]
"""


@pytest.fixture
def pod(tmp_path: Path) -> Path:
    path = tmp_path / "pod.yaml"
    path.write_text(POD)
    return path


def settings_file(directory: Path, text: str) -> Path:
    path = directory / "settings" / "gateway.toml"
    path.parent.mkdir()
    path.write_text(text)
    return path


def test_a_pod_takes_further_settings_from_a_file_and_paths_start_there(pod: Path, tmp_path: Path) -> None:
    settings = settings_file(tmp_path, '[server]\nworkers = 2\n[cache]\ndirectory = "kept"\n')
    file = read_config(pod, None, settings)
    assert (file.problems, file.warnings) == ((), ())
    assert (file.config.server.listen, file.config.server.workers) == ("127.0.0.1:4000", 2)
    assert (file.base, file.where(0)) == (settings.parent, f"{pod}: container hello")
    assert cache_directory(file) == settings.parent / "kept"


def test_the_settings_file_of_a_pod_wins_inside_a_table(pod: Path, tmp_path: Path) -> None:
    file = read_config(pod, None, settings_file(tmp_path, '[server]\nlisten = ":80"\n'))
    assert file.config.server.listen == ":80"


def test_a_mistake_in_the_settings_file_of_a_pod_is_reported_once_with_its_path(pod: Path, tmp_path: Path) -> None:
    settings = settings_file(tmp_path, "[server]\nworkers = 0\n")
    file = read_config(pod, None, settings)
    assert [str(problem) for problem in file.problems] == [f"{settings}: server.workers = 0: must be at least 1"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[[module]]\n", r"\[\[module\]\]: the modules are those of the Pod manifest; remove it"),
        ("[server", "is not valid TOML"),
    ],
)
def test_settings_files_that_are_refused(pod: Path, tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(StartupError, match=problem):
        read_config(pod, None, settings_file(tmp_path, text))


def test_a_modules_toml_takes_no_settings_file(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="--settings: goes with a Pod manifest"):
        read_config(tmp_path / "modules.toml", None, tmp_path / "gateway.toml")


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    assert read(tmp_path, "\ufeff" + MINIMAL).problems == ()


def test_the_name_of_a_module_in_messages(tmp_path: Path) -> None:
    file = read(tmp_path, MINIMAL)
    assert file.where(0) == f"{tmp_path / 'modules.toml'}: [[module]] 1 (/x)"


@pytest.mark.parametrize(("table", "path"), [("", None), ('[log]\ndirectory = "logs"\n', "logs")])
def test_the_directory_of_logs_is_beside_the_file(tmp_path: Path, table: str, path: str | None) -> None:
    assert log_directory(read(tmp_path, table + MINIMAL)) == (tmp_path / path if path else None)


def test_without_a_cache_directory_the_users_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert cache_directory(read(tmp_path, MINIMAL)) == tmp_path / "home" / "wagi-gateway" / "modules"


def test_a_user_without_a_home_directory_has_a_cache_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container runs as an arbitrary user, whom passwd(5) does not know."""

    def unknown(number: int) -> object:
        raise KeyError(number)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cache_directory(read(tmp_path, MINIMAL)) == tmp_path / f"wagi-gateway-{os.geteuid()}" / "modules"


def test_files_of_logs_are_relative_to_the_configuration(tmp_path: Path) -> None:
    other = '[[module]]\nroute = "/own"\nmodule = "m.wasm"\nlog_file = "logs/own/0.log"\n'
    assert log_files(read(tmp_path, MINIMAL + other)) == {"/own": tmp_path / "logs/own/0.log"}
