"""Copies of a request: their commands are executed by a shell, and send what was sent."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.recordings import head, recording
from wagi_gateway.dev.capture import MAX_CAPTURE
from wagi_gateway.dev.export import CannotExport, ServedConfiguration, as_curl, as_har, as_pytest, as_run, as_test
from wagi_gateway.dev.recording import Recording

CONFIG = ServedConfiguration(Path("modules.toml"))
ORIGIN = "http://127.0.0.1:3000"
BODIES = [b"", b"a=1&b=2", b'it\'s 100%\n\t"x" \\n $HOME `id`', bytes(range(256)), b"123\0001"]


def arguments(command: str, directory: Path) -> tuple[list[str], bytes]:
    """Words and standard input that a shell passes to the program of `command`."""
    for name in ("curl", "wagi-gateway"):
        program = directory / name
        program.write_text('#!/bin/sh\nprintf "%s\\0" "$@" >words\ncat >input\n')
        program.chmod(0o755)
    environment = {"PATH": f"{directory}:/usr/bin:/bin"}
    subprocess.run(
        ["sh", "-c", command], cwd=directory, env=environment, check=True, stdin=subprocess.DEVNULL, timeout=20
    )
    return (directory / "words").read_text().split("\0")[:-1], (directory / "input").read_bytes()


@pytest.mark.parametrize("body", BODIES)
def test_curl(tmp_path: Path, body: bytes) -> None:
    request = head("POST", b"/a'b?c=$(id)&d=%20", [(b"x-own", b"it's; `id`"), (b"content-length", b"3")])
    words, sent = arguments(as_curl(recording(request, body=body), ORIGIN), tmp_path)
    assert words[-2:] == ["--", f"{ORIGIN}/a'b?c=$(id)&d=%20"]
    assert words[words.index("-X") + 1] == "POST"
    assert [words[at + 1] for at, word in enumerate(words) if word == "-H"] == ["x-own: it's; `id`"]
    assert sent == body
    assert ("--data-binary" in words) == bool(body)


def test_curl_takes_brackets_as_they_are() -> None:
    assert " -g " in as_curl(recording(head(target=b"/x?a[]={b,c}")), ORIGIN)


def test_any_method_is_part_of_a_name() -> None:
    one = recording(head("M-SEARCH"), stdout=b"content-type: a/b\n\n")
    one.status = 200
    compile(as_pytest(one, CONFIG), "test", "exec")


def test_curl_of_head_and_get() -> None:
    assert as_curl(recording(head("HEAD")), ORIGIN).startswith("curl -sS -i -g --path-as-is -I")
    assert "-X" not in as_curl(recording(), ORIGIN)


@pytest.mark.parametrize("body", BODIES)
def test_run(tmp_path: Path, body: bytes) -> None:
    words, sent = arguments(as_run(recording(head("PUT", b"/x?q=1"), body=body), CONFIG), tmp_path)
    assert words[:8] == ["run", "modules.toml", "--path", "/x?q=1", "-X", "PUT", "-H", "host: localhost:3000"]
    assert words[8:] == (["-H", "content-type:", "--data", "-"] if body else [])
    assert sent == body


def test_run_with_the_options_of_dev() -> None:
    config = ServedConfiguration(Path("a b.toml"), Path("s.toml"), {"MODE": "x y", "API_TOKEN": "geheim99"})
    words = shlex.split(as_run(recording(), config))
    assert words[:8] == ["wagi-gateway", "run", "a b.toml", "--path", "/x", "--settings", "s.toml", "-e"]
    assert words[8:11] == ["MODE=x y", "-e", "API_TOKEN=••••••••"]
    assert "API_TOKEN=geheim99" in as_run(recording(), config, reveal=True)


def test_run_of_head() -> None:
    command = "wagi-gateway run modules.toml --path /x -X HEAD -H 'host: localhost:3000'"
    assert as_run(recording(head("HEAD")), CONFIG) == command


@pytest.mark.parametrize("body", BODIES)
def test_a_test_passes_for_the_same_answer_alone(tmp_path: Path, body: bytes) -> None:
    one = recording(stdout=b"content-type: text/plain\n\n" + body)
    one.status = 200
    script = as_test(one, CONFIG)
    (tmp_path / "answer").write_bytes(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n" + body)
    program = tmp_path / "wagi-gateway"
    program.write_text("#!/bin/sh\ncat answer\n")
    program.chmod(0o755)

    def run() -> int:
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        return subprocess.run(["sh", "-c", script], cwd=tmp_path, env=environment, timeout=20).returncode

    assert run() == 0
    (tmp_path / "answer").write_bytes(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n" + body + b"!")
    assert run() != 0
    (tmp_path / "answer").write_bytes(b"HTTP/1.1 500 OK\r\n\r\n" + body)
    assert run() != 0


@pytest.mark.parametrize("body", BODIES)
def test_a_test_for_pytest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    one = recording(head("POST", b"/a'b?c=$(id)"), body=body, stdout=b"content-type: text/plain\n\n" + body)
    one.status = 200
    program = tmp_path / "wagi-gateway"
    program.write_text('#!/bin/sh\nprintf "%s\\0" "$@" >words\ncat answer\ncat\n')
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    names: dict[str, Callable[[], None]] = {}
    exec(as_pytest(one, CONFIG), names)
    (tmp_path / "answer").write_bytes(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n")
    names["test_post_a_b_c_id"]()
    words = (tmp_path / "words").read_text().split("\0")[:-1]
    assert words[:4] == ["run", "modules.toml", "--path", "/a'b?c=$(id)"]
    assert (words[-2:] == ["--data", "-"]) == bool(body)
    for answer in (b"HTTP/1.1 500 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n!"):
        (tmp_path / "answer").write_bytes(answer)
        with pytest.raises(AssertionError):
            names["test_post_a_b_c_id"]()


def test_secrets_are_masked_unless_asked_for() -> None:
    one = recording(head(target=b"/x?token=geheim99", fields=[(b"cookie", b"a=abcdefgh")]), body=b"password=pass1234")
    one.status = 200
    for reveal in (False, True):
        har = json.dumps(as_har([one], ORIGIN, reveal=reveal))
        one.stdout.feed(b"content-type: a/b\n\n")
        test = as_pytest(one, CONFIG, reveal=reveal)
        text = as_curl(one, ORIGIN, reveal=reveal) + as_run(one, CONFIG, reveal=reveal) + har + test
        assert [secret in text for secret in ("geheim99", "abcdefgh", "pass1234")] == [reveal] * 3


def test_har() -> None:
    one = recording(head("POST", b"/x?a=1"), body=b"b", stdout=b"content-type: image/x\n\n\xff\x00")
    one.status, one.headers, one.sent = 200, ((b"content-type", b"image/x"),), 2
    odd = recording(outcome=None)
    odd.status = 299
    entries = as_har([one, odd], ORIGIN)["log"]["entries"]  # type: ignore[index]
    assert entries[0]["response"]["content"] == {"size": 2, "mimeType": "image/x", "text": "/wA=", "encoding": "base64"}
    assert entries[0]["request"]["url"] == f"{ORIGIN}/x?a=1"
    assert entries[0]["request"]["queryString"] == [{"name": "a", "value": "1"}]
    assert entries[1]["response"]["statusText"] == ""


def large() -> Recording:
    return recording(head("POST"), body=bytes(MAX_CAPTURE + 1))


def test_what_was_not_kept_is_not_copied() -> None:
    with pytest.raises(CannotExport, match="1048577 bytes"):
        as_curl(large(), ORIGIN)
    with pytest.raises(CannotExport, match="answer of a guest"):
        as_test(recording(outcome=None), CONFIG)


def test_the_test_of_a_head_request_expects_no_body() -> None:
    one = recording(head("HEAD"), stdout=b"content-type: text/plain\n\nbody")
    assert "body" not in as_test(one, CONFIG).partition("printf")[2].partition("\n")[0]
