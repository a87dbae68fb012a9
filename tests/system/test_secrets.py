"""No message shows a secret: values of variables, passwords and queries of URLs, header fields."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support import guests
from wagi_gateway.cli.main import app
from wagi_gateway.config.file import read_config
from wagi_gateway.errors import StartupError, redact, redact_value
from wagi_gateway.server.signals import IGNORED_SIGNALS
from wagi_gateway.site.load import load

SECRET = "h0rse-b4ttery"
MODULE = '[[module]]\nroute = "/x"\nmodule = "m.wat"\n'
URL = f"http://user:{SECRET}@x.example"

RUNNER = CliRunner(env={"COLUMNS": "400"})
"""Runs commands; `check` wraps lines at COLUMNS, in which a secret would not be found."""


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Restores the handlers of the signals that `serve` ignores: the processes of later tests would inherit that."""
    before = {number: signal.getsignal(number) for number in IGNORED_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def of_module(reference: str) -> str:
    return f'[[module]]\nroute = "/x"\nmodule = {json.dumps(reference)}\n'


CONFIGURATIONS = {
    "a variable with NUL": MODULE + f'environment = {{ A = "{SECRET}\\u0000" }}',
    "a variable of all modules with NUL": f'[environment]\nA = "{SECRET}\\u0000"\n{MODULE}',
    "a variable in the place of its name": MODULE + f'environment = {{ "A={SECRET}" = "" }}',
    "a variable that is a list": MODULE + f'environment = {{ A = ["{SECRET}"] }}',
    "variables as text": MODULE + f'environment = "A={SECRET}"',
    "a reserved variable": MODULE + f'environment = {{ PATH_INFO = "{SECRET}" }}',
    "module over HTTP": of_module(f"https://u:{SECRET}@h.example/r.wasm"),
    "module with a token": of_module(f"https://{SECRET}@h.example/r.wasm"),
    "module that is signed": of_module(f"https://h.example/r.wasm?X-Signature={SECRET}"),
    "module with a space": of_module(f"https://u:a {SECRET}@h.example/r.wasm"),
    "module with a quote": of_module(f"https://u:a'{SECRET}@h.example/r.wasm"),
    "module of another scheme": of_module(f"ftp://u:{SECRET}@h.example/r.wasm"),
    "module of a bindle": of_module(f"bindle:u:{SECRET}@h.example/r"),
    "module without a scheme": of_module(f"u:{SECRET}@h.example/r.wasm"),
    "image": of_module(f"oci:u:{SECRET}@h.example/r:1"),
    "image with slashes": of_module(f"oci://u:{SECRET}@h.example/r:1"),
    "image with a digest": of_module(f"oci:u:{SECRET}@h.example/r@sha256:{'0' * 64}"),
    "file of a host": of_module(f"file://u:{SECRET}@h.example/r.wasm"),
    "host to call": MODULE + f'allowed_hosts = ["{URL}/"]',
    "host to call, without a scheme": MODULE + f'allowed_hosts = ["user:{SECRET}@x.example"]',
    "host to call, with a slash": MODULE + f'allowed_hosts = ["http://u:a/{SECRET}@x.example/"]',
    "host to call, with at signs": MODULE + f'allowed_hosts = ["http://u:a@{SECRET}@x.example/"]',
    "host to call, with a space": MODULE + f'allowed_hosts = ["http://u:a {SECRET}@x.example/"]',
    "host to call, with a query": MODULE + f'allowed_hosts = ["http://x.example/?key={SECRET}"]',
    "host to call, as text": MODULE + f'allowed_hosts = "{URL}"',
    "proxy": f'[outbound]\nproxy = "https://u:{SECRET}@x"\n{MODULE}',
    "proxy as a list": f'[outbound]\nproxy = ["http://u:{SECRET}@x"]\n{MODULE}',
    "outbound as text": f'outbound = "http://u:{SECRET}@x"\n{MODULE}',
    "registry": f'[registries."u:{SECRET}@h"]\ninsecure = true\n{MODULE}',
    "registry with a scheme": f'[registries."https://u:{SECRET}@h"]\ninsecure = true\n{MODULE}',
    "registry as text": f'[registries]\nh = "u:{SECRET}"\n{MODULE}',
    "mirror": f'[registries.h]\nmirror = "u:{SECRET}@m"\n{MODULE}',
    "password in the place of its file": f'[registries.h]\npassword = "{SECRET}"\n{MODULE}',
    "host name": f'[server]\nhostname = "u:{SECRET}@h"\n{MODULE}',
    "address": f'[server]\nlisten = "u:{SECRET}@h:80"\n{MODULE}',
    "address of the operator": f'[admin]\nlisten = "http://u:{SECRET}@h:80"\n{MODULE}',
    "proxies": f'[server]\ntrusted_proxies = ["u:{SECRET}@h"]\n{MODULE}',
}


@pytest.mark.parametrize("text", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_no_problem_of_a_configuration_shows_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.wat").write_text(guests.HELLO)
    path = tmp_path / "modules.toml"
    path.write_text(text)
    try:
        site = load(read_config(path, {"cache": {"enabled": False}}))
    except StartupError as error:
        shown = [*map(str, error.problems), *map(str, error.warnings), str(error), repr(error.problems)]
    else:
        site.close()
        shown = [*map(str, site.warnings), *(words for row in site.permissions() for words in row)]
    assert shown
    assert [words for words in shown if SECRET in words or SECRET[3:] in words] == []


@pytest.mark.parametrize("command", ["check", "routes", "serve"])
def test_no_command_shows_one(tmp_path: Path, command: str) -> None:
    (tmp_path / "m.wat").write_text(guests.HELLO)
    for name, text in CONFIGURATIONS.items():
        if name in ("a variable with NUL", "module over HTTP", "host to call, with at signs", "registry", "proxy"):
            (tmp_path / "modules.toml").write_text(text)
            result = RUNNER.invoke(app, [command, str(tmp_path / "modules.toml"), "--cache-dir", str(tmp_path / "c")])
            assert result.exit_code in (1, 3)
            assert SECRET not in result.output


def test_the_routes_show_no_query_of_a_host(tmp_path: Path) -> None:
    (tmp_path / "m.wat").write_text(guests.HELLO)
    (tmp_path / "modules.toml").write_text(CONFIGURATIONS["host to call, with a query"])
    for command in ("check", "routes"):
        result = RUNNER.invoke(app, [command, str(tmp_path / "modules.toml"), "--cache-dir", str(tmp_path / "c")])
        assert (result.exit_code, SECRET in result.output, "x.example" in result.output) == (0, False, True)


OPTIONS = {
    "no equals sign": ["--env", SECRET],
    "a name with a space": ["--env", f"A B={SECRET}"],
    "NUL": ["--env", f"A={SECRET}\0"],
    "no UTF-8": ["--env", f"A={SECRET}\udcff"],
    "a name that is reserved": ["--env", f"PATH_INFO={SECRET}"],
    "a header field without colon": ["--header", f"Authorization Bearer {SECRET}"],
    "a host": ["--allow-host", f"http://u:{SECRET}@h/"],
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_no_option_is_shown(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "m.wat").write_text(guests.HELLO)
    result = RUNNER.invoke(app, ["run", str(tmp_path / "m.wat"), *options, "--cache-dir", str(tmp_path / "c")])
    assert result.exit_code == 3
    assert SECRET not in result.output


@pytest.mark.parametrize("line", [SECRET, f"A B={SECRET}", f"A={SECRET}\0", f"export {SECRET}", f"={SECRET}"])
def test_no_line_of_an_env_file_is_shown(tmp_path: Path, line: str) -> None:
    (tmp_path / "m.wat").write_text(guests.HELLO)
    (tmp_path / "modules.toml").write_text(MODULE)
    (tmp_path / "env").write_text(f"FIRST=1\n{line}\n")
    result = RUNNER.invoke(app, ["serve", str(tmp_path / "modules.toml"), "--env-file", str(tmp_path / "env")])
    assert result.exit_code == 3
    assert "env:2: " in result.output
    assert SECRET not in result.output


POD = """
apiVersion: v1
kind: Pod
metadata: {name: p, annotations: {alpha.wagi.krustlet.dev/modules: '{"web": {"route": "/x"}}'}}
spec:
  nodeSelector: {kubernetes.io/arch: wasm32-wagi}
  containers:
    - name: web
      image: IMAGE
      env: [ENTRY]
"""


@pytest.mark.parametrize(
    ("entry", "image"),
    [
        (f"{{name: A, value: !{SECRET} x}}", "ghcr.io/a/b:1"),
        (f"{{name: A, value: *{SECRET}}}", "ghcr.io/a/b:1"),
        (f'{{name: A, value: ["{SECRET}"]}}', "ghcr.io/a/b:1"),
        (f"{{name: 'A={SECRET}'}}", "ghcr.io/a/b:1"),
        (f"{{name: PATH_INFO, value: {SECRET}}}", "ghcr.io/a/b:1"),
        (f'{{name: A, value: "{SECRET}\\0"}}', "ghcr.io/a/b:1"),
        ("{name: A, value: b}", f"u:{SECRET}@ghcr.io/a/b:1"),
        ("{name: A, value: b}", f"https://u:{SECRET}@ghcr.io/a/b:1"),
    ],
)
def test_no_problem_of_a_pod_shows_one(tmp_path: Path, entry: str, image: str) -> None:
    (tmp_path / "pod.yaml").write_text(POD.replace("ENTRY", entry).replace("IMAGE", image))
    try:
        problems = read_config(tmp_path / "pod.yaml").problems
    except StartupError as error:
        problems = error.problems
    assert problems
    assert [str(problem) for problem in problems if SECRET in str(problem)] == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://u:p@h/x and http://v:q@i/", "http://…@h/x and http://…@i/"),
        ("https://h/a?b=c: no", "https://h/a?… no"),
        ("<https://u:p@h/a?b=c> (https://u:p@h/?b)", "…@h/a?… …@h/?…"),
        ("realm=https://u:p@h/a?b=c", "…@h/a?…"),
        ('module = "oci:ghcr.io/a/b@sha256:00": no', 'module = "oci:ghcr.io/a/b@sha256:00": no'),
        ("ghcr.io:443/a/b:1@sha256:00", "ghcr.io:443/a/b:1@sha256:00"),
        ("/srv/app@2/modules.toml:3: what?", "/srv/app@2/modules.toml:3: what?"),
        ("admin@example.com", "admin@example.com"),
    ],
)
def test_what_is_redacted(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("http://u:p w@h/", "http://…@h/"),
        ("u:p@q@h", "…@h"),
        ("oci:u:p@h/r@sha256:00", "…@h/r@sha256:00"),
        ("u:a//b@h", "…@h"),
        ("https://h/m.wasm?a=b@c", "https://…@c"),
        ("oci:h/r@sha256:00", "oci:h/r@sha256:00"),
        ("../a@b/m.wasm", "../a@b/m.wasm"),
        ("m.wasm", "m.wasm"),
    ],
)
def test_a_value_that_is_redacted(value: str, shown: str) -> None:
    assert redact_value(value) == shown
