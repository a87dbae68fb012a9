"""Environment variables from the command line and from files, beside what Docker, systemd and a shell make of them."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from wagi_gateway.config.envfile import MAX_FILE, parse_env_file, parse_variable
from wagi_gateway.errors import StartupError


@pytest.mark.parametrize(
    ("text", "variable"),
    [
        ("A=b", ("A", "b")),
        ("A=", ("A", "")),
        ("A=b=c", ("A", "b=c")),
        ('A="b c"', ("A", "b c")),
        ("A='b'", ("A", "b")),
        ('A="b', ("A", '"b')),
        ('A="', ("A", '"')),
        ('TEST_NAME = "test value"', ("TEST_NAME", "test value")),
    ],
)
def test_variable(text: str, variable: tuple[str, str]) -> None:
    assert parse_variable(text) == variable


@pytest.mark.parametrize("text", ["", "A", "=b", "A B=c", "A\u00a0B=c", "A=\0"])
def test_no_variable(text: str) -> None:
    with pytest.raises(ValueError, match=r"NAME=VALUE|NUL"):
        parse_variable(text)


REFUSED = None
"""The file is refused, with its line."""
IGNORED: dict[str, str] = {}


class Case(NamedTuple):
    """A file, and the variables that each reader makes of it; None for an error."""

    content: bytes
    gateway: dict[str, str] | None
    docker: dict[str, str] | None
    """`docker run --env-file` of Docker 28.2: docker/cli, pkg/kvfile."""
    systemd: dict[str, str] | None
    """`EnvironmentFile=`: systemd.exec(5); names that are not valid are ignored with a warning."""
    shell: dict[str, str] | None
    """`set -a; . ./FILE` of dash; None also where a line would run as a command."""


def everywhere(content: bytes, **variables: str) -> Case:
    return Case(content, variables, variables, variables, variables)


CASES = {
    "plain": everywhere(b"A=b\n", A="b"),
    "no line feed at the end": everywhere(b"A=b", A="b"),
    "empty lines": everywhere(b"\n\nA=b\n\n", A="b"),
    "comment": everywhere(b"# c\n  # d=e\nA=b\n", A="b"),
    "empty value": everywhere(b"A=\n", A=""),
    "equals signs": everywhere(b"A=b=c=\n", A="b=c="),
    "last one counts": everywhere(b"A=1\nA=2\n", A="2"),
    "indented": everywhere(b"  A=b\n\tC=d\n", A="b", C="d"),
    "UTF-8": everywhere("A=é\n".encode(), A="é"),
    "hash inside": everywhere(b"A=b#c\n", A="b#c"),
    "byte order mark": Case(b"\xef\xbb\xbfA=b\n", {"A": "b"}, {"A": "b"}, IGNORED, None),
    "byte order mark in the middle": Case(
        b"A=b\n\xef\xbb\xbfC=d\n", {"A": "b", "C": "d"}, {"A": "b", "\ufeffC": "d"}, {"A": "b"}, None
    ),
    "CRLF": Case(b"A=b\r\nC=d\r\n", {"A": "b", "C": "d"}, {"A": "b", "C": "d"}, {"A": "b", "C": "d"}, None),
    "export": Case(b"export A=b\nexport\tC=d\n", {"A": "b", "C": "d"}, None, IGNORED, {"A": "b", "C": "d"}),
    "a variable called export": everywhere(b"export=b\n", export="b"),
    "double quotes": Case(b'A="b c"\n', {"A": "b c"}, {"A": '"b c"'}, {"A": "b c"}, {"A": "b c"}),
    "single quotes": Case(b"A='b c'\n", {"A": "b c"}, {"A": "'b c'"}, {"A": "b c"}, {"A": "b c"}),
    "empty quotes": Case(b'A=""\n', {"A": ""}, {"A": '""'}, {"A": ""}, {"A": ""}),
    "escape in quotes": Case(b'A="b\\"c"\n', {"A": 'b\\"c'}, {"A": '"b\\"c"'}, {"A": 'b"c'}, {"A": 'b"c'}),
    "comment behind": Case(b"A=b # c\n", {"A": "b # c"}, {"A": "b # c"}, {"A": "b # c"}, {"A": "b"}),
    "semicolon": Case(b"; c\nA=b\n", {"A": "b"}, None, {"A": "b"}, None),
    "white space around the value": Case(b"A=  b  \n", {"A": "b"}, {"A": "  b  "}, {"A": "b"}, None),
    "white space around the equals sign": Case(b"A = b\n", {"A": "b"}, None, {"A": "b"}, None),
    "dollar": Case(b"A=$HOME_\n", {"A": "$HOME_"}, {"A": "$HOME_"}, {"A": "$HOME_"}, {"A": ""}),
    "no equals sign": Case(b"A\n", REFUSED, IGNORED, IGNORED, None),
    "no name": Case(b"=b\n", REFUSED, None, IGNORED, None),
    "white space in a name": Case(b"A B=c\n", REFUSED, None, IGNORED, None),
    "hyphen in a name": Case(b"A-B=c\n", {"A-B": "c"}, {"A-B": "c"}, IGNORED, None),
    "backslash at the end": Case(
        b"A=b\\\nC=d\n", {"A": "b\\", "C": "d"}, {"A": "b\\", "C": "d"}, {"A": "bC=d"}, {"A": "bC=d"}
    ),
    "line separator of Unicode": everywhere("A=b\u2028c\x85d\n".encode(), A="b\u2028c\x85d"),
    "no-break space": everywhere("A=\u00a0b\u00a0\n".encode(), A="\u00a0b\u00a0"),
    "NUL": Case(b"A=b\0c\n", REFUSED, {"A": "b\0c"}, None, {"A": "bc"}),
    "Latin-1": Case(b"A=\xe9\n", REFUSED, None, None, {"A": "\udce9"}),
    "UTF-16": Case("A=b\n".encode("utf-16"), REFUSED, None, None, None),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_file(tmp_path: Path, case: Case) -> None:
    path = tmp_path / "env"
    path.write_bytes(case.content)
    if case.gateway is not None:
        assert parse_env_file(path) == case.gateway
    else:
        with pytest.raises(StartupError):
            parse_env_file(path)


ALONE = ("byte order mark in the middle", "escape in quotes")
"""Files that the gateway reads as none of the others does."""


@pytest.mark.parametrize(("name", "case"), CASES.items(), ids=CASES)
def test_what_docker_systemd_and_a_shell_agree_on(name: str, case: Case) -> None:
    if case.docker == case.systemd == case.shell:
        assert case.gateway == case.docker
    if case.gateway is not None and name not in ALONE:
        assert case.gateway in (case.docker, case.systemd, case.shell)


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=name) for name, case in CASES.items() if case.shell is not None]
)
def test_the_shell_does_as_the_table_says(tmp_path: Path, case: Case) -> None:
    shell = shutil.which("dash")
    if not shell:
        pytest.skip("dash is not installed")
    (tmp_path / "env").write_bytes(case.content)
    # Not the variables that dash adds.
    script = 'set -a; . ./env; exec env -u PWD -u OLDPWD -u _ "$0" -0'
    done = subprocess.run(
        [shell, "-c", script, "env"], cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, capture_output=True
    )
    seen = dict(line.split("=", 1) for line in done.stdout.decode("utf-8", "surrogateescape").split("\0") if line)
    seen.pop("PATH", None)
    assert seen == case.shell


GENERATOR = Path("/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator")
"""systemd's reader of environment.d(5): the parser of `EnvironmentFile=`, but it expands `$` and drops empty values."""


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=name)
        for name, case in CASES.items()
        if b"$" not in case.content and "" not in (case.systemd or {}).values()
    ],
)
def test_systemd_does_as_the_table_says(tmp_path: Path, case: Case) -> None:
    if not GENERATOR.exists():
        pytest.skip("systemd is not installed")

    def read(content: bytes) -> dict[str, str]:
        (tmp_path / "environment.d").mkdir(exist_ok=True)
        (tmp_path / "environment.d/case.conf").write_bytes(content)
        environ = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
        done = subprocess.run([GENERATOR], env=environ, capture_output=True, timeout=30)
        lines = [shlex.split(line)[0] for line in done.stdout.decode().split("\n") if line]
        return dict(line.split("=", 1) for line in lines)

    of_this_machine = read(b"").items()
    assert dict(read(case.content).items() - of_this_machine) == (case.systemd or {})


def test_every_mistake_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text("A=1\nB\n=2\n")
    with pytest.raises(StartupError) as caught:
        parse_env_file(path)
    assert [problem.where for problem in caught.value.problems] == [f"{path}:2", f"{path}:3"]


@pytest.mark.parametrize("content", [None, b"\xff=1"])
def test_unreadable_file(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "env"
    if content:
        path.write_bytes(content)
    with pytest.raises(StartupError, match="cannot be read"):
        parse_env_file(path)


def test_the_size_of_a_file_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_bytes(b"A=" + b"b" * (MAX_FILE - 2))
    assert len(parse_env_file(path)["A"]) == MAX_FILE - 2
    with pytest.raises(StartupError, match="is larger than 1 MiB"):
        parse_env_file(Path("/dev/zero"))
