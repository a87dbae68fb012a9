"""The languages of templates."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.conftest import ROOT
from wagi_gateway.scaffold import language
from wagi_gateway.scaffold.language import LANGUAGES

TEMPLATES = Path(language.__file__).parent / "templates"


def test_the_interpreter_is_the_one_that_is_documented() -> None:
    digest = hashlib.sha256((TEMPLATES / "quickjs/qjs.wasm").read_bytes()).hexdigest()
    assert f"`{digest}`" in (ROOT / "samples/javascript/README.md").read_text()


def test_each_language_has_its_templates() -> None:
    assert {folder.name for folder in TEMPLATES.iterdir()} == {"common", *LANGUAGES}
    assert [name for name, one in LANGUAGES.items() if not (TEMPLATES / name / f"{one.source}.tmpl").is_file()] == []
