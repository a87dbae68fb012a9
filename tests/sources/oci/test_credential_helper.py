"""Credential helpers: results, refusals, timeouts, malformed output, missing programs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.support.credential_helper import helper
from wagi_gateway.sources.oci.credential_helper import HelperFailed, run_helper

SECRET = "s3cr3t"  # what no text may hold


def test_a_helper_gets_the_name_of_the_server(tmp_path: Path) -> None:
    environ = helper(
        tmp_path,
        """
        read server
        [ "$1 $server" = "get ghcr.io" ] && echo '{"ServerURL": "ghcr.io", "Username": "user", "Secret": "s3cr3t"}'
        """,
    )
    assert run_helper("test", "ghcr.io", environ) == ("user", SECRET)


ANSWERS: dict[str, tuple[str, tuple[str, str] | None]] = {
    "does not read": ("""echo '{"Username": "u", "Secret": "s"}'""", ("u", "s")),
    "no newline": ("""printf '{"Username": "u", "Secret": "s"}'""", ("u", "s")),
    "closes its input": ("""exec <&-; echo '{"Username": "u", "Secret": "s"}'""", ("u", "s")),
    "has nothing": ("echo credentials not found in native keychain; exit 1", None),
    "has an empty secret": ("""echo '{"Username": "", "Secret": ""}'""", None),
}


@pytest.mark.parametrize(("script", "answer"), ANSWERS.values(), ids=ANSWERS)
def test_what_a_helper_answers(tmp_path: Path, script: str, answer: tuple[str, str] | None) -> None:
    assert run_helper("test", "ghcr.io", helper(tmp_path, script)) == answer


FAILURES = {
    "garbage": (f"echo {SECRET}", "printed something else than JSON with Username and Secret"),
    "not UTF-8": (r"printf '\377'", "printed something else than JSON"),
    "a list": (f"""echo '["{SECRET}"]'""", "printed something else than JSON"),
    "no secret": ("""echo '{"Username": "u"}'""", "printed something else than JSON"),
    "numbers": ("""echo '{"Username": 1, "Secret": 2}'""", "printed something else than JSON"),
    "a lone surrogate": (r"""printf '{"Username": "u", "Secret": "\\ud800"}'""", "printed something else than JSON"),
    "deep": ("head -c 60000 /dev/zero | tr '\\0' '['", "printed something else than JSON"),
    "nothing": ("exit 0", "printed something else than JSON"),
    "too much": ("yes", "printed more than 64 KiB"),
    "failure": (
        f"echo {SECRET}; echo {SECRET} >&2; exit 7",
        "docker-credential-test failed with exit code 7; `echo ghcr.io | docker-credential-test get` shows why",
    ),
}


@pytest.mark.parametrize(("script", "text"), FAILURES.values(), ids=FAILURES)
def test_a_helper_that_fails(tmp_path: Path, script: str, text: str) -> None:
    with pytest.raises(HelperFailed) as caught:
        run_helper("test", "ghcr.io", helper(tmp_path, script))
    assert text in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "script",
    ["sleep 60", "exec sleep 60", "sleep 60 & echo '{}'", "trap '' TERM; sleep 60", "exec >&-; sleep 60"],
    ids=["a child sleeps", "sleeps", "leaves a child with the pipe", "ignores SIGTERM", "closes its output"],
)
def test_a_helper_that_hangs_is_ended_with_its_children(tmp_path: Path, script: str) -> None:
    start = time.monotonic()
    with pytest.raises(HelperFailed, match=r"did not answer in 0\.2 s"):
        run_helper("test", "ghcr.io", helper(tmp_path, f"echo $$ > {tmp_path}/pid\n{script}"), timeout=0.2)
    assert time.monotonic() - start < 5
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_helper_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(HelperFailed, match="docker-credential-desktop is not on the PATH"):
        run_helper("desktop", "ghcr.io", {"PATH": str(tmp_path)})


def test_a_helper_that_cannot_be_run(tmp_path: Path) -> None:
    environ = helper(tmp_path, "")
    (tmp_path / "docker-credential-test").write_text("#!/no/such/interpreter\n")
    with pytest.raises(HelperFailed, match="docker-credential-test cannot be run: No such file"):
        run_helper("test", "ghcr.io", environ)


@pytest.mark.parametrize("name", ["../evil", "/bin/sh", "", "a b", "-x", "a\nb"])
def test_a_name_is_not_a_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(HelperFailed, match="is not the name of a credential helper"):
        run_helper(name, "ghcr.io", {"PATH": str(tmp_path)})
