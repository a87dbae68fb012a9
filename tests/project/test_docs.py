"""The documentation agrees with the program."""

from __future__ import annotations

import itertools
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import BaseModel
from typer.core import TyperGroup
from typer.main import get_command

from scripts.configuration_page import configuration_page, node_options_page
from tests.conftest import ROOT
from wagi_gateway.cgi.environ import META_VARIABLES, build_environ
from wagi_gateway.cgi.request import RequestHead, find_authority
from wagi_gateway.cgi.response import FRONT_END, HeaderBlock
from wagi_gateway.cli.main import app
from wagi_gateway.config.docstrings import attribute_docstrings
from wagi_gateway.config.file import config_from_tables
from wagi_gateway.config.settings import Config, Limits, nested_models
from wagi_gateway.errors import BadOutput
from wagi_gateway.node.options import read_options
from wagi_gateway.router import RouteMatch

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "samples/README.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("samples/[!.]*/README.md")),
]
ARCHITECTURE, CONFIGURATION, ENVIRONMENT, WRITING_MODULES = (
    ROOT / "docs" / name for name in ("architecture.md", "configuration.md", "environment.md", "writing-modules.md")
)
PACKAGE = ROOT / "wagi_gateway"

FOLDERS = sorted({path.parent for path in PACKAGE.rglob("*.py")})

_BLOCK = re.compile(r"^```(.*)\n((?:.*\n)*?)```$", re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: Path
    language: str
    text: str

    def __str__(self) -> str:
        first = self.text.partition("\n")[0]
        return f"{self.page.relative_to(ROOT)}: {first}"


def blocks(*languages: str) -> list[Block]:
    return [
        Block(page, language, text)
        for page in PAGES
        for language, text in _BLOCK.findall(page.read_text())
        if language in languages
    ]


def prose(page: Path) -> str:
    return _BLOCK.sub("", page.read_text())


def commands() -> Iterator[str]:
    """Every command line of wagi-gateway: after the prompt, in shell blocks, and in code spans."""
    texts = [block.text.replace("\\\n", " ") for block in blocks("sh")]
    lines = [line.strip().removeprefix("$ ") for text in texts for line in text.splitlines()]
    lines += [line[2:] for block in blocks("console") for line in block.text.splitlines() if line.startswith("$ ")]
    lines += [span for page in PAGES for span in _CODE.findall(prose(page))]
    return (line for line in lines if line.startswith("wagi-gateway "))


def models(model: type[BaseModel] = Config) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        for inner in nested_models(field.annotation):
            yield from models(inner)


def read_block(output: bytes) -> None:
    block = HeaderBlock(Limits().header_block)
    block.feed(output)
    block.close()


def anchors(page: Path) -> set[str]:
    """The fragments of a page's headings on GitHub."""
    headings = _HEADING.findall(prose(page))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_configuration_page_is_what_the_models_say() -> None:
    assert CONFIGURATION.read_text() == configuration_page(), "run scripts/write-docs"


def test_the_page_of_the_node_s_options_is_what_the_models_say() -> None:
    page = ROOT / "docs" / "kubernetes-node-options.md"
    assert page.read_text() == node_options_page(), "run scripts/write-docs"


@pytest.mark.parametrize("model", sorted(set(models()), key=str), ids=lambda model: model.__name__)
def test_every_setting_is_described(model: type[BaseModel]) -> None:
    page = CONFIGURATION.read_text()
    docstrings = attribute_docstrings(model)
    for name in model.model_fields:
        assert docstrings.get(name), f"{name} has no docstring"
        assert f"| `{name}` |" in page
        assert " ".join(docstrings[name].split()).replace("|", "\\|") in page


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_every_module_of_the_package_has_its_job_described(folder: Path) -> None:
    name = "wagi_gateway/" if folder == PACKAGE else f"{folder.relative_to(PACKAGE)}/"
    (row,) = re.findall(rf"^\| `{name}` \|.*", ARCHITECTURE.read_text(), re.MULTILINE)
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__", "__main__"}
    assert modules <= set(_CODE.findall(row))


def test_every_path_of_the_architecture_exists() -> None:
    paths = re.findall(r"`([\w/.-]+(?:\.py|\.md|/))`", ARCHITECTURE.read_text())
    assert [path for path in paths if not ((PACKAGE / path).exists() or (ROOT / path).exists())] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in _LINK.findall(prose(page)):
        path, _, fragment = link.partition("#")
        if path.startswith(("http:", "https:")):
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not fragment or fragment in anchors(target), link


@pytest.mark.parametrize("line", sorted(set(commands())))
def test_every_command_exists(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    arguments = list(itertools.takewhile(lambda word: word not in ("|", ">", "<", "&"), words))
    command = get_command(app)
    assert isinstance(command, TyperGroup)
    if not arguments[0].startswith("-"):
        command = command.commands[arguments.pop(0)]
    if isinstance(command, TyperGroup) and arguments and not arguments[0].startswith("-"):
        command = command.commands[arguments.pop(0)]
    options = {"--help", *(option for parameter in command.params for option in parameter.opts)}
    assert {word for word in arguments if word.startswith("-")} <= options


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_every_configuration_is_valid(block: Block) -> None:
    file = config_from_tables(Path("modules.toml"), tomllib.loads(block.text))
    assert (*file.problems, *file.warnings) == ()


@pytest.mark.parametrize("block", blocks("toml settings"), ids=str)
def test_every_settings_file_is_valid(block: Block) -> None:
    file = config_from_tables(Path("gateway.toml"), tomllib.loads(block.text) | {"module": []})
    assert (*file.problems, *file.warnings) == ()


@pytest.mark.parametrize("block", blocks("toml node"), ids=str)
def test_every_file_of_a_node_is_valid(block: Block, tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_text(block.text)
    assert read_options(tmp_path / "node.toml", {})


@pytest.mark.parametrize("block", blocks("toml invalid"), ids=str)
def test_every_mistake_is_one(block: Block) -> None:
    assert config_from_tables(Path("modules.toml"), tomllib.loads(block.text)).problems


def test_every_block_is_of_a_known_kind() -> None:
    known = {
        *"asm c console go js json lua mermaid nginx perl python ruby rust sh text toml ts wat yaml zig".split(),
        "toml invalid",
        "toml node",
        "toml settings",
    }
    assert {language for page in PAGES for language, _ in _BLOCK.findall(page.read_text())} <= known


def test_every_variable_of_a_request_is_described() -> None:
    request = RequestHead(
        method="GET",
        raw_path=b"/",
        query=b"",
        http_version="1.0",
        scheme="https",
        headers=(),
        client=("192.0.2.1", 4711),
        server=("127.0.0.1", 3000),
        request_id="1",
    )
    match = RouteMatch(None, "/...", b"", b"/", b"/", b"/")
    environ = build_environ(request, match, authority=find_authority(request), operator={})
    section = ENVIRONMENT.read_text().partition("## The request")[2].partition("\n## ")[0]
    described = set(re.findall(r"^\| `([A-Z_]+)` \|", section, re.MULTILINE))
    assert described == {name.decode() for name in environ} == META_VARIABLES - {"REMOTE_IDENT"}


@pytest.mark.parametrize(
    "output",
    [
        b"",
        b"Content-Type: text/plain\n",
        b"\nhello",
        b"Content-Type: text/plain\nHello world\n\n",
        b"HTTP/1.1 200 OK\n\n",
        b"Content-Type : text/plain\n\n",
        b"x-a: a\rb\n\n",
        b"Status: abc\n\n",
        b"Content-Type: a/b\nContent-Type: c/d\n\n",
        b"Content-Type: a/b\nTransfer-Encoding: chunked\n\n",
        b"X-A: 1\n\n",
        b"X-A: " + b"a" * 70_000,
    ],
    ids=lambda output: repr(output[:40]),
)
def test_every_refusal_of_output_is_described(output: bytes) -> None:
    with pytest.raises(BadOutput) as refusal:
        read_block(output)
    assert f"`502: {refusal.value}`" in WRITING_MODULES.read_text()


def test_the_fields_that_command_a_proxy_are_those_that_are_taken_out() -> None:
    page = (ROOT / "docs/behind-a-proxy.md").read_text()
    section = page.partition("## Fields that command the proxy")[2].partition("\n## ")[0]
    named = re.findall(r"^\| `([^`*]+)\*` \|", section, re.MULTILINE)
    assert sorted(name.lower().encode() for name in named) == sorted(FRONT_END)
