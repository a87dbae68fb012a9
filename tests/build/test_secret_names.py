"""Names whose values are secrets."""

from __future__ import annotations

import pytest

from wagi_gateway.build.secret_names import is_secret, secrets_of_environment


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"API_TOKEN", True),
        (b"AWS_SECRET_ACCESS_KEY", True),
        (b"DB_PASS", True),
        (b"HTTP_COOKIE", True),
        (b"proxy-authorization", True),
        (b"GITHUB_PAT", True),
        (b"SENTRY_DSN", True),
        (b"PATH", False),
        (b"COMPASS", False),
        (b"REQUEST_METHOD", False),
    ],
)
def test_names(name: bytes, expected: bool) -> None:
    assert is_secret(name) == expected


def test_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    before = secrets_of_environment()
    monkeypatch.setenv("Z_TOKEN", "x")
    monkeypatch.setenv("A_TOKEN", "")
    monkeypatch.setenv("PWD", "/")
    monkeypatch.setenv("OLDPWD", "/")
    monkeypatch.setenv("DATABASE_URL", "postgres://app:hidden@db.example/app?a=b")
    monkeypatch.setenv("HOME_URL", "http://h.example:80/a:b@c")
    assert secrets_of_environment() == sorted([*before, "Z_TOKEN", "DATABASE_URL"])
