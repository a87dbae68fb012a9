"""Spin's build commands, which a shell reads, as words without a shell."""

from __future__ import annotations

import pytest

from wagi_gateway.config.spin.build import convert_build
from wagi_gateway.config.spin.manifest import SpinBuild


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("cargo build --release", ["cargo", "build", "--release"]),
        ("tinygo build -o 'my app.wasm' main.go", ["tinygo", "build", "-o", "my app.wasm", "main.go"]),
        ("cd a && make", ["sh", "-c", "cd a && make"]),
        ("GOOS=wasip1 go build", ["sh", "-c", "GOOS=wasip1 go build"]),
        ("cp *.wasm $OUT", ["sh", "-c", "cp *.wasm $OUT"]),
        ("echo 'open", ["sh", "-c", "echo 'open"]),
        (["npm install", "npm run build"], ["sh", "-c", "npm install && npm run build"]),
    ],
)
def test_the_words_of_a_command(command: object, words: list[str]) -> None:
    assert convert_build(SpinBuild.model_validate({"command": command})) == {"command": words}


def test_directory_and_patterns() -> None:
    build = SpinBuild(command=["make"], workdir="hello", watch=["src/**/*.rs"])
    assert convert_build(build) == {"command": ["make"], "directory": "hello", "watch": ["src/**/*.rs"]}
