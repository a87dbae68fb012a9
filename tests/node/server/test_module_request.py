"""The command of `kubectl exec`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from wagi_gateway.node.server.containers import Container
from wagi_gateway.node.server.module_request import ModuleRequest, NotARequest, environment


@pytest.mark.parametrize(
    ("command", "request_"),
    [
        (["GET", "/"], ModuleRequest("GET", "/")),
        (["PROPFIND", "/a?b=c d"], ModuleRequest("PROPFIND", "/a?b=c d")),
        (["PUT", "/", "Accept: a", "x-y:"], ModuleRequest("PUT", "/", ("Accept: a", "x-y:"))),
    ],
)
def test_requests(command: list[str], request_: ModuleRequest) -> None:
    assert ModuleRequest.parse(command) == request_


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ([], '"" is no method of HTTP'),
        (["sh"], '"sh" is no method of HTTP, and there is no program to execute'),
        (["GET"], "the path is missing"),
        (["GET", "hello"], '"hello" is no path'),
        (["GET", "/", "secret"], "header field 1 is not NAME: VALUE"),
        (["GET", "/", *["a: b"] * 255], "there are more than 256 words"),
    ],
)
def test_what_is_no_request(command: list[str], words: str) -> None:
    with pytest.raises(NotARequest) as refused:
        ModuleRequest.parse(command)
    assert words in str(refused.value)
    assert "kubectl exec POD -c MODULE -- METHOD /PATH" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_the_command_line_takes_no_word_for_an_option() -> None:
    container = Container(log=Path("/l"), configuration=Path("/p/modules.toml"), route="/x/...")
    command = ModuleRequest("GET", "/-x", ("a: --b",)).command(container, has_body=True)
    assert command[:5] == [sys.executable, "-m", "wagi_gateway", "run", "/p/modules.toml"]
    assert command[5:] == ["--route=/x/...", "--method=GET", "--path=/-x", "--body", "--header=a: --b", "--data=@-"]
    assert "--data=@-" not in ModuleRequest("GET", "/").command(container, has_body=False)


def test_it_gets_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/secret")
    monkeypatch.setenv("HOME", "/home/wagi")
    assert environment()["HOME"] == "/home/wagi"
    assert "KUBECONFIG" not in environment()
