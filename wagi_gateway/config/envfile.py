"""Environment variables of `--env` and of the lines of an `--env-file`."""

from __future__ import annotations

from pathlib import Path

from ..errors import Problem, StartupError

MAX_FILE = 2**20
"""Bytes of a file."""
_BYTE_ORDER_MARK = "\ufeff"
"""Ignored at the start of any line: a file may be the concatenation of several."""
_BLANK = " \t\r"
"""White space around a name or value. A value may begin or end with Unicode's other kinds."""


def parse_variable(text: str) -> tuple[str, str]:
    """The name and value of `NAME=VALUE`; one pair of quotes around the value is removed, as in WAGI.

    >>> parse_variable('GREETING="good day"')
    ('GREETING', 'good day')

    Raises ValueError, whose message has no part of the text, which may be a secret.
    """
    name, equals, value = text.partition("=")
    name, value = name.strip(_BLANK), value.strip(_BLANK)
    if not equals or not name or any(character.isspace() for character in name):
        raise ValueError("write NAME=VALUE")
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("a variable must be UTF-8 text without NUL")
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    return name, value


def parse_env_file(path: Path) -> dict[str, str]:
    """The variables of a file (docs/environment.md); a byte order mark, empty lines, comments and a leading `export`
    are ignored.

    Raises StartupError with every malformed line.
    """
    variables: dict[str, str] = {}
    problems = []
    for number, line in enumerate(_read(path).split("\n"), start=1):
        text = line.removeprefix(_BYTE_ORDER_MARK).strip(_BLANK)
        if not text or text[0] in "#;":
            continue
        try:
            name, value = parse_variable(_without_export(text))
            variables[name] = value
        except ValueError as error:
            problems.append(Problem(f"{path}:{number}", str(error)))
    if problems:
        raise StartupError(*problems)
    return variables


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            raise StartupError(Problem(str(path), f"is larger than {MAX_FILE // 2**20} MiB; name another file"))
        return data.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise StartupError(Problem(str(path), f"cannot be read: {reason}")) from None


def _without_export(text: str) -> str:
    word, *rest = text.split(maxsplit=1)
    return rest[0] if word == "export" and rest and not rest[0].startswith("=") else text
