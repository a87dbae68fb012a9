"""Source lines come from files below the configuration's directory alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from wagi_gateway.dev.source_lines import source_lines


@pytest.fixture
def base(tmp_path: Path) -> Path:
    base = tmp_path / "app"
    (base / "src").mkdir(parents=True)
    (base / "src/a.c").write_text("".join(f"line {number}\n" for number in range(1, 31)))
    (base / ".env").write_text("SECRET=1\n")
    (base / "modules.toml").write_text("secret = 1\n")
    (base / "key.PEM").write_text("secret\n")
    (tmp_path / "outside.c").write_text("secret\n")
    (base / "link.c").symlink_to(tmp_path / "outside.c")
    (base / "loop.c").symlink_to("loop.c")
    for name in ("key.pem", "modules.toml", "id_rsa", "settings.c.env"):
        (base / name).write_text("secret\n")
    (base / "key.c").symlink_to("key.pem")
    return base


@pytest.mark.parametrize("name", ["src/a.c", "{base}/src/a.c", "src/../src/a.c"])
def test_lines_around(base: Path, name: str) -> None:
    found = source_lines(base, name.format(base=base), 10)
    assert found is not None
    path, lines = found
    assert path == "src/a.c"
    assert lines == [(number, f"line {number}") for number in range(5, 16)]


@pytest.mark.parametrize(
    "name",
    "../outside.c link.c {base}/../outside.c .env src nothing.c /etc/hostname a\0b loop.c loop.c/x.c key.pem"
    " modules.toml id_rsa settings.c.env key.c".split(" "),
)
def test_no_file_elsewhere_and_no_other_file(base: Path, name: str) -> None:
    assert source_lines(base, name.format(base=base), 1) is None


def test_the_beginning_and_long_lines(base: Path) -> None:
    (base / "b.c").write_text("x" * 1000 + "\nb")
    found = source_lines(base, "b.c", 1)
    assert found is not None
    assert [(line.number, len(line.text)) for line in found[1]] == [(1, 400), (2, 1)]


def test_a_large_file_is_not_read(base: Path) -> None:
    (base / "big.c").write_bytes(bytes(3 * 1024 * 1024))
    assert source_lines(base, "big.c", 1) is None
