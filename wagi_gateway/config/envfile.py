"""Environment variables of `--env` and of the lines of an `--env-file`."""

from __future__ import annotations

from pathlib import Path

from ..errors import Problem, StartupError


def parse_variable(text: str) -> tuple[str, str]:
    """The name and value of `NAME=VALUE`; one pair of quotes around the value is removed, as in WAGI.

    >>> parse_variable('GREETING="good day"')
    ('GREETING', 'good day')

    Raises ValueError.
    """
    name, equals, value = text.partition("=")
    name, value = name.strip(), value.strip()
    if not equals or not name or any(character.isspace() for character in name):
        raise ValueError("write NAME=VALUE")
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("a variable must be UTF-8 text without NUL")
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    return name, value


def parse_env_file(path: Path) -> dict[str, str]:
    """The variables of a file; empty lines, comments (`#`) and a leading `export` are ignored.

    Raises StartupError with every malformed line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise StartupError(Problem(str(path), f"cannot be read: {reason}")) from None
    variables: dict[str, str] = {}
    problems = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            name, value = parse_variable(line.strip().removeprefix("export "))
            variables[name] = value
        except ValueError as error:
            problems.append(Problem(f"{path}:{number}", f'"{line.strip()}": {error}'))
    if problems:
        raise StartupError(*problems)
    return variables
