"""Guests' standard error in files: WAGI's layout, no lost line, and no request that waits or fails."""

from __future__ import annotations

import gzip
import json
import os
import re
import resource
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import ROOT, Serve, wait_until, warnings
from tests.support import guests
from tests.support.attacks import together
from tests.support.config import guest
from tests.support.registry import installed
from tests.support.reloading import reload
from wagi_gateway.config.file import read_config
from wagi_gateway.config.settings import LogConfig
from wagi_gateway.errors import StartupError
from wagi_gateway.observe import log
from wagi_gateway.observe.guest_log import GuestLog
from wagi_gateway.observe.log_file import rotated as rotated_files
from wagi_gateway.observe.module_log import module_log
from wagi_gateway.observe.process_registry import ProcessRegistry
from wagi_gateway.observe.status import status
from wagi_gateway.site.load import load

HELLO = "06534c588c4bcf346a7dd628395a760098606413609a0854c62739599cc8c029"
"""SHA-256 of "/hello/..."."""
SAYS = guests.says(guests.CONTENT_TYPE + b"hello\n", stderr=b"one \x1b[2J\ntwo\n")
ROTATE = ROOT / "deploy/logrotate/wagi-gateway"


pytestmark = pytest.mark.usefixtures("restored")


def write(directory: Path, data: bytes, route: str = "/hello/...", **settings: object) -> str:
    """Writes a guest's standard error; returns the content of the route's file."""
    log.configure(LogConfig.model_validate(settings), directory)
    guest = GuestLog(route, "r1")
    guest.feed(data)
    guest.close()
    return module_log(directory, route).read_text()


def in_the_log(output: str) -> list[str]:
    """The guests' lines in the server's log."""
    return re.findall(r"guest: (.*?) route=", output)


def test_the_layout_is_that_of_wagi(tmp_path: Path) -> None:
    assert write(tmp_path / "logs", b"hello\n") == "hello\n"
    path = tmp_path / "logs" / HELLO / "module.stderr"
    assert path.read_text() == "hello\n"
    assert [made.stat().st_mode & 0o777 for made in (path, *path.parents[:2])] == [0o640, 0o750, 0o750]


def test_the_directory_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "logs").symlink_to("private")
    assert write(tmp_path / "logs", b"hello\n") == "hello\n"


@pytest.mark.parametrize("level", ["debug", "error"])
def test_a_line_is_the_guests_own(tmp_path: Path, capsys: pytest.CaptureFixture[str], level: str) -> None:
    assert write(tmp_path, b'{"a": "b c"}\n\x1b[2J\xff\n\nno end', level=level) == (
        '{"a": "b c"}\n\\x1b[2J\\xff\n\nno end\n'
    )
    assert capsys.readouterr().err == ""


def test_as_json_it_has_its_request(tmp_path: Path) -> None:
    line = json.loads(write(tmp_path, b"a\x00b\n", format="json"))
    assert line.pop("time").endswith("Z")
    assert line.pop("logger") == log.GUEST
    assert line == {"level": "info", "message": r"a\x00b", "route": "/hello/...", "id": "r1"}


def test_what_was_moved_or_removed_is_made_anew(tmp_path: Path) -> None:
    assert write(tmp_path / "logs", b"one\n") == "one\n"
    path = module_log(tmp_path / "logs", "/hello/...")
    path.rename(tmp_path / "moved")
    assert write(tmp_path / "logs", b"two\n") == "two\n"
    path.unlink()
    path.parent.rmdir()
    assert write(tmp_path / "logs", b"three\n") == "three\n"
    (tmp_path / "logs").rename(tmp_path / "elsewhere")
    assert write(tmp_path / "logs", b"four\n") == "four\n"


@pytest.mark.parametrize("kind", ["link", "linked-directory", "pipe", "directory", "file"])
def test_what_cannot_be_written_is_in_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    path = module_log(tmp_path, "/hello/...")
    path.parent.mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch()
    (tmp_path / "others").mkdir()
    if kind == "link":
        path.symlink_to(elsewhere)
    elif kind == "linked-directory":
        path.parent.rmdir()
        path.parent.symlink_to(tmp_path / "others")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.parent.rmdir()
        path.parent.touch()
    log.configure(LogConfig(), tmp_path)
    for route in ("/hello/...", "/hello/...", "/other"):
        guest = GuestLog(route, "r1")
        guest.feed(b"one\ntwo\n")
        guest.close()
    output = capsys.readouterr().err
    assert in_the_log(output) == ["one", "two"] * 2
    assert len(re.findall(rf"WARNING {re.escape(str(path))} cannot be written: ", output)) == 1
    assert "Traceback" not in output
    assert (elsewhere.read_text(), module_log(tmp_path, "/other").read_text()) == ("", "one\ntwo\n")
    assert not os.listdir(tmp_path / "others")


def test_a_file_of_its_own_has_lines_of_the_cri(tmp_path: Path) -> None:
    own = tmp_path / "hello" / "0.log"
    log.configure(LogConfig(), None, {"/hello": own})
    guest = GuestLog("/hello", "r1")
    guest.feed(b"one\ttwo\r\n" + b"x" * 16384 + b"\n" + b"y" * 16385)
    guest.close()
    lines = [line.split(" ", 3) for line in own.read_text().splitlines()]
    assert [line[1:] for line in lines] == [
        ["stderr", "F", "one\ttwo"],
        ["stderr", "F", "x" * 16384],
        ["stderr", "P", "y" * 16384],
        ["stderr", "F", "y"],
    ]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", line[0]) for line in lines)


@pytest.mark.parametrize("has_directory", [True, False])
def test_other_routes_stay_where_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], has_directory: bool
) -> None:
    log.configure(LogConfig(), tmp_path if has_directory else None, {"/hello": tmp_path / "0.log"})
    for route in ("/hello", "/other"):
        guest = GuestLog(route, "r1")
        guest.feed(b"one\n")
    assert (tmp_path / "0.log").read_text().endswith(" stderr F one\n")
    assert in_the_log(capsys.readouterr().err) == ([] if has_directory else ["one"])
    assert module_log(tmp_path, "/other").exists() == has_directory


def test_a_file_of_its_own_is_bounded(tmp_path: Path) -> None:
    own = tmp_path / "0.log"
    settings = LogConfig.model_validate({"max_file_size": "64KiB", "max_files": 2})
    log.configure(settings, None, {"/hello": own})
    guest = GuestLog("/hello", "r1")
    for number in range(400):
        guest.feed(b"%04d %s\n" % (number, b"x" * 1000))
    assert [path.name for path in rotated_files(own)] == ["0.log.6"]
    assert all(path.stat().st_size <= 65536 for path in (own, *rotated_files(own)))
    assert own.read_text().splitlines()[-1].split()[3] == "0399"


def test_a_file_that_cannot_be_written_is_in_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    log.configure(LogConfig(), None, {"/hello": tmp_path / "file" / "0.log"})
    GuestLog("/hello", "r1").feed(b"one\n")
    assert in_the_log(output := capsys.readouterr().err) == ["one"]
    assert "0.log cannot be written: Not a directory" in output


@pytest.mark.parametrize("workers", ["1", "2"])
def test_each_module_has_its_own_file(serve: Serve, tmp_path: Path, workers: str) -> None:
    both = guests.says(b"/sub _routes\n", stderr=b"hello\n").replace('"_start"', '"_routes"')
    config = guest("/with/...", "both") + 'log_file = "pod/with/0.log"\n' + guest("/says", "says")
    server = serve(config + 'log_file = "pod/says/0.log"\n', "--workers", workers, says=SAYS, both=both)
    assert (server.get("/with/sub").status_code, server.get("/says").status_code) == (502, 200)
    own, printed = tmp_path / "pod/says/0.log", tmp_path / "pod/with/0.log"
    wait_until(lambda: own.exists() and own.read_text().count("\n") == 2)
    assert [line.split(" ", 3)[3] for line in own.read_text().splitlines()] == [r"one \x1b[2J", "two"]
    wait_until(lambda: "hello" in printed.read_text())
    assert in_the_log(server.log) == []


@pytest.mark.parametrize("workers", ["1", "2"])
def test_each_route_has_its_file(serve: Serve, tmp_path: Path, workers: str) -> None:
    config = '[log]\nlevel = "warning"\n' + guest("/a", "says") + guest("/hello/...", "says") + guest("/", "quiet")
    server = serve(config, "--workers", workers, "--log-dir", str(tmp_path / "logs"), says=SAYS, quiet=guests.HELLO)
    assert set(together(6, lambda _: server.get("/hello").status_code)) == {200}
    assert server.get("/a").status_code == 200
    hello, other = (module_log(tmp_path / "logs", route) for route in ("/hello/...", "/a"))
    wait_until(lambda: hello.exists() and hello.read_text() == "one \\x1b[2J\ntwo\n" * 6)
    wait_until(lambda: other.exists() and other.read_text() == "one \\x1b[2J\ntwo\n")
    assert len(os.listdir(tmp_path / "logs")) == 2
    assert not warnings(server.log) + in_the_log(server.log)


def test_routes_that_are_printed_have_theirs(serve: Serve, tmp_path: Path) -> None:
    both = guests.says(b"/sub _routes\n", stderr=b"hello\n").replace('"_start"', '"_routes"')
    server = serve('[log]\ndirectory = "logs"\n' + guest("/with/...", "both"), both=both)
    assert server.get("/with/sub").status_code == 502
    for route in ("/with/...", "/with/sub"):
        assert module_log(tmp_path / "logs", route).read_text() == "hello\n"


def test_a_reload_changes_the_directory(serve: Serve, tmp_path: Path) -> None:
    modules = guest("/says", "says")
    server = serve('[log]\ndirectory = "one"\n' + modules, says=SAYS)
    for directory in ("one", "two"):
        reload(server, f'[log]\ndirectory = "{directory}"\n' + modules)
        server.get("/says")
        path = module_log(tmp_path / directory, "/says")
        wait_until(lambda path=path: path.exists() and path.read_text().endswith("two\n"))  # type: ignore[misc]
    assert in_the_log(server.log) == []
    reload(server, modules)
    server.get("/says")
    server.wait_for_log("guest: two")
    (tmp_path / "file").touch()
    reload(server, '[log]\ndirectory = "file"\n' + modules)
    server.wait_for_log('log.directory = "file": \\S+/file is no directory')


def test_a_full_disk_fails_no_request(serve: Serve, tmp_path: Path) -> None:
    server = serve('[log]\naccess = false\ndirectory = "logs"\n' + guest("/says", "says"), says=SAYS)
    path = module_log(tmp_path / "logs", "/says")
    before = "x" * 99_999 + "\n"  # more than the other files have
    path.parent.mkdir(parents=True)
    path.write_text(before)
    # A limit on the file's size acts like a full disk: a write is partial, and the next one fails.
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (len(before) + 14, resource.RLIM_INFINITY))
    for _ in range(3):
        assert server.get("/says").status_code == 200
    wait_until(lambda: in_the_log(server.log) == ["two", *["one \\x1b[2J", "two"] * 2], message=lambda: server.log)
    assert path.read_text() == before + "one \\x1b[2J\n"
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert server.get("/says").status_code == 200
    wait_until(lambda: path.read_text() == before + "one \\x1b[2J\n" * 2 + "two\n")
    assert server.log.count("cannot be written") == 1
    assert "Traceback" not in server.log


def rotated(path: Path) -> list[str]:
    """The lines of a file and of its rotated predecessors."""
    texts = [gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes() for file in every(path)]
    return b"".join(texts).decode().splitlines()


def every(path: Path) -> list[Path]:
    """A file and its rotated predecessors."""
    return list(path.parent.glob(f"{path.name}*"))


def test_logrotate_loses_no_line(serve: Serve, tmp_path: Path) -> None:
    settings = ROTATE.read_text().replace("/var/log/wagi-gateway", str(tmp_path / "logs"))
    (tmp_path / "rotate").write_text(settings.replace("rotate 7", "rotate 99"))
    command = [installed("logrotate"), "--force", "--state", str(tmp_path / "state"), str(tmp_path / "rotate")]
    config = '[log]\nformat = "json"\ndirectory = "logs"\n' + guest("/says", "says")
    server = serve(config, "--workers", "2", says=SAYS)
    path = module_log(tmp_path / "logs", "/says")
    ids: list[str] = []

    def ask() -> bool:
        ids.extend(server.get("/says").headers["x-request-id"] for _ in range(4))
        return path.exists()

    for _ in range(8):
        with ThreadPoolExecutor(1) as thread:
            rotating = thread.submit(subprocess.run, command, capture_output=True, text=True)
            together(4, lambda _: ask())
            done = rotating.result()
        assert (done.returncode, done.stderr) == (0, "")
        wait_until(ask)
    wait_until(lambda: Counter(json.loads(line)["id"] for line in rotated(path)) == dict.fromkeys(ids, 2))
    assert {file.suffix for file in every(path)} == {".stderr", ".1", ".gz"}
    assert in_the_log(server.log) == []


def test_what_a_start_refuses(tmp_path: Path) -> None:
    (tmp_path / "m.wat").write_text(guests.HELLO)
    (tmp_path / "data").mkdir()
    (tmp_path / "file").touch()
    for settings, what in (
        ('[log]\ndirectory = "file"\n', 'log.directory = "file": .*/file is no directory; name another one'),
        ('[log]\ndirectory = "data/logs"\n', r"holds the logs \(log.directory\) in .*/data/logs, which guests could"),
        ('[log]\ndirectory = "."\n', r"lies in the logs \(log.directory\) in "),
        (
            '[log]\ndirectory = "data/logs"\n[[static]]\nroute = "/s/..."\ndirectory = "data"\n',
            r"it holds the logs \(log.directory\) in .*/data/logs, which everybody could read",
        ),
        (guest("/own", "m") + 'log_file = "file/0.log"\n', 'log_file = "file/0.log": .*/file is no directory; name'),
        (guest("/own", "m") + 'log_file = "data"\n', 'log_file = "data": .*/data is a directory; name another file'),
        (guest("/own", "m") + 'log_file = "data/0.log"\n', r"holds the log .*/data/0.log \(log_file\)"),
    ):
        config = f"{settings}{guest('/m', 'm')}volumes = {{ '/data' = 'data' }}\n"
        (tmp_path / "modules.toml").write_text(config)
        with pytest.raises(StartupError, match=what):
            load(read_config(tmp_path / "modules.toml"))


def test_status_names_the_directory_and_creates_none(tmp_path: Path) -> None:
    (tmp_path / "m.wat").write_text(guests.HELLO)
    (tmp_path / "modules.toml").write_text('[log]\ndirectory = "logs"\n' + guest("/hello/...", "m"))
    command = [sys.executable, "-m", "wagi_gateway", "routes", str(tmp_path / "modules.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"\n  standard error  {tmp_path}/logs/{HELLO}/module.stderr\n" in done.stdout
    with closing(load(read_config(tmp_path / "modules.toml"))) as site:
        shown = json.loads(json.dumps(status(ProcessRegistry(site.served(), 1))))
    assert shown["modules"][0]["logs"] == {"/hello/...": f"{tmp_path}/logs/{HELLO}/module.stderr"}
    assert not (tmp_path / "logs").exists()
