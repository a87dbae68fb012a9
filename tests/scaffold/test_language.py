"""The languages of templates."""

from __future__ import annotations

from pathlib import Path

from wagi_gateway.scaffold import language
from wagi_gateway.scaffold.language import LANGUAGES

TEMPLATES = Path(language.__file__).parent / "templates"


def test_each_language_has_its_templates() -> None:
    assert {folder.name for folder in TEMPLATES.iterdir()} == {"common", *LANGUAGES}
    assert [name for name, one in LANGUAGES.items() if not (TEMPLATES / name / f"{one.source}.tmpl").is_file()] == []
