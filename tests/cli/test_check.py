"""The `check` command: its three formats, lines and order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support import guests
from tests.support.cli import gateway
from wagi_gateway.cli.main import app

MISTAKES = """\
[cache]
enabled = false

[[module]]
route = "/a/:id"
module = "m.wat"

[limits]
time = "soon"

[[module]]
rout = "/b"
module = "m.wat"
volumes = { "/data" = "nodirectory" }
"""
EXPECTED = [
    ("warning", 5, 'route = "/a/:id": ":id" stands for itself'),
    ("error", 9, 'limits.time = "soon": not a duration'),
    ("error", 11, "route: missing; it has no default"),
    ("error", 12, "rout: unknown key; did you mean route?"),
    ("error", 14, 'volumes."/data" = "nodirectory": there is no directory'),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    (tmp_path / "m.wat").write_text(guests.HELLO)
    (tmp_path / "modules.toml").write_text(MISTAKES)
    return tmp_path


def printed(*arguments: str, code: int = 1, columns: str | None = None) -> str:
    result = CliRunner(env={"COLUMNS": columns} if columns else {}).invoke(app, ["check", *arguments])
    assert result.exit_code == code
    return result.stdout


@pytest.mark.usefixtures("folder")
def test_json_has_file_line_and_the_files_order() -> None:
    result = json.loads(printed("--format", "json", "modules.toml"))
    found = [finding for finding in result["findings"] if finding["result"] in ("warning", "error")]
    assert result["ok"] is False
    assert [(one["result"], one["file"], one["line"]) for one in found] == [
        (kind, "modules.toml", line) for kind, line, _ in EXPECTED
    ]
    assert all(one["what"].startswith(what) for one, (_, _, what) in zip(found, EXPECTED, strict=True))


@pytest.mark.usefixtures("folder")
def test_github_gets_annotations() -> None:
    lines = printed("--format", "github").splitlines()
    assert [line.partition("::")[2].partition("::")[0] for line in lines] == [
        f"{kind} file=modules.toml,line={line}" for kind, line, _ in EXPECTED
    ]
    assert lines[3] == "::error file=modules.toml,line=12::[[module]] 2: rout: unknown key; did you mean route?"


def test_annotations_are_escaped(folder: Path) -> None:
    name = "a,b:50%.toml"
    (folder / name).write_text(MISTAKES.replace("rout =", '"ro%\\nut" ='))
    output = printed("--format", "github", name)
    assert "::error file=a%2Cb%3A50%25.toml,line=12::" in output
    assert "ro%25%0Aut" in output


def test_annotations_have_no_control_characters(folder: Path) -> None:
    (folder / "modules.toml").write_text(MISTAKES.replace("rout =", '"ro\\r\\u001b[31m\\u0085ut" ='))
    assert "ro\\r\\x1b[31m\\x85ut" in printed("--format", "github")


@pytest.mark.parametrize("output", ["text", "json", "github"])
def test_a_file_that_is_too_deep_is_refused(folder: Path, output: str) -> None:
    (folder / "modules.toml").write_text("a = " + "[" * 100_000)
    assert "nested more than 64 levels" in printed("--format", output, columns="300")


def test_a_file_that_is_not_toml_has_the_line(folder: Path) -> None:
    (folder / "modules.toml").write_text("a = 1\n[[module")
    (finding,) = json.loads(printed("--format", "json"))["findings"]
    assert (finding["file"], finding["line"], finding["result"]) == ("modules.toml", 2, "error")


@pytest.mark.parametrize(("columns", "width"), [(None, 80), ("120", 120), ("50", 50), ("x", 80)])
@pytest.mark.usefixtures("folder")
def test_the_text_fits_the_width(columns: str | None, width: int) -> None:
    lines = printed(columns=columns).splitlines()
    assert max(map(len, lines)) == width
    assert "\x1b" not in "".join(lines)
    words = " ".join(" ".join(line.split("│")[3:4]).strip() for line in lines if line.startswith("│"))
    assert "rout: unknown key; did you mean route?" in words


@pytest.mark.usefixtures("folder")
def test_the_place_of_a_mistake_is_the_files_and_the_line() -> None:
    output = printed(columns="300")
    assert "modules.toml:12: [[module]] 2 " in output
    assert "modules.toml:9 " in output


def test_what_is_in_order(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "modules.toml").write_text(
        '[cache]\nenabled = false\n[[static]]\nroute = "/s/..."\ndirectory = "data"\n'
        '[[module]]\nroute = "/a"\nmodule = "m.wat"\nvolumes = { "/d" = { path = "data", read_only = true } }\n'
        'allowed_hosts = ["https://a.example"]\n'
    )
    result = json.loads(printed("--format", "json", code=0))
    assert result["ok"] is True
    assert [(one["result"], one["where"], one["line"]) for one in result["findings"]] == [
        ("ok", "/s/...", 3),
        ("ok", "/a", 6),
        ("may call", "/a", 6),
        ("may read", "/a", 6),
    ]
    assert printed("--format", "github", code=0) == ""


def test_a_pod_manifest_has_no_lines(folder: Path) -> None:
    (folder / "pod.yaml").write_text("kind: Pod\napiVersion: v1\n")
    findings = json.loads(printed("--format", "json", "pod.yaml"))["findings"]
    assert {(one["file"], one["line"]) for one in findings} == {("pod.yaml", None)}


@pytest.mark.parametrize(("files", "hint"), [([], ""), (["spin.toml"], "convert spin.toml > modules.toml")])
def test_there_is_no_modules_toml(folder: Path, files: list[str], hint: str) -> None:
    (folder / "modules.toml").unlink()
    for name in files:
        (folder / name).touch()
    (finding,) = json.loads(printed("--format", "json"))["findings"]
    assert finding["what"].startswith("there is none in this directory; name a configuration")
    assert finding["what"].endswith(hint)


def test_the_colours_of_a_terminal(folder: Path) -> None:
    """FORCE_COLOR stands for a terminal, as in rich."""
    coloured = gateway("check", cwd=folder, FORCE_COLOR="1").stdout
    assert b"\x1b[1;31merror" in coloured
    assert b"\x1b[33mwarning" in coloured
    assert b"\x1b[1;31m" not in gateway("check", cwd=folder, FORCE_COLOR="1", NO_COLOR="1").stdout
